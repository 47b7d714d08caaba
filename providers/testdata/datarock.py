# Datarock's scheme by PyJWT. Takes "verify" or "sign", the key in PEM with \n for its
# line breaks, email, URL, and iat or the signature, one per line of standard input.
import hashlib, jwt, sys
what, pem, email, url, text = sys.stdin.read().split("\n")[:5]
key = pem.replace("\\n", "\n")
def digest(iat):
    return hashlib.sha512(f"{email}/{iat}/{url}".encode()).hexdigest()
if what == "sign":
    print(jwt.encode({"iat": int(text), "requestHash": digest(text)}, key, algorithm="RS256"), end="")
else:
    claims = jwt.decode(text, key, algorithms=["RS256"])
    print("good" if claims["requestHash"] == digest(claims["iat"]) else "other hash", end="")
