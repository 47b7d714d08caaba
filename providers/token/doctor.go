package token

// A Check is one thing that a doctor looked at.
type Check struct {
	// Name says what was looked at: "keystore", "issuer login.example.com".
	Name string `json:"name"`
	// Result is CheckOK, CheckWarn or CheckFail.
	Result string `json:"result"`
	// Text states what was found, in one line.
	Text string `json:"text"`
	// Advice says what to do; empty if nothing is to be done.
	Advice string `json:"advice,omitempty"`
}

// The results of a Check: as it should be, worth a look, broken.
const (
	CheckOK   = "ok"
	CheckWarn = "warn"
	CheckFail = "fail"
)

// A Report is what tokend's doctor found.
type Report struct {
	Version string `json:"version"`
	// Proxy is the proxy that requests to issuers go through, without user and
	// password; empty for none.
	Proxy  string  `json:"proxy,omitempty"`
	Checks []Check `json:"checks"`
}
