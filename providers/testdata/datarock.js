// Datarock's scheme by jsonwebtoken. Takes "verify" or "sign", the key in PEM with \n for
// its line breaks, email, URL, and iat or the signature, one per line of standard input.
const jwt = require("jsonwebtoken"), crypto = require("crypto");
const [what, pem, email, url, text] = require("fs").readFileSync(0, "utf8").split("\n");
const key = pem.replaceAll("\\n", "\n");
const hash = iat => crypto.createHash("sha512").update(email + "/" + iat + "/" + url).digest("hex");
if (what === "sign") {
  process.stdout.write(jwt.sign({iat: Number(text), requestHash: hash(text)}, key, {algorithm: "RS256"}));
} else {
  const claims = jwt.verify(text, key, {algorithms: ["RS256"]});
  process.stdout.write(claims.requestHash === hash(claims.iat) ? "good" : "other hash");
}