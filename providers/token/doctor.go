package token

// A Check is the result of one check of the doctor.
type Check struct {
	// Name says what was checked: "keystore", "issuer login.example.com".
	Name string `json:"name"`
	// Result is CheckOK, CheckWarn or CheckFail.
	Result string `json:"result"`
	// Text states the finding, in one line.
	Text string `json:"text"`
	// Advice says what to do, if there is anything to do.
	Advice string `json:"advice,omitempty"`
}

// The results of a Check: good, worth a look, broken.
const (
	CheckOK   = "ok"
	CheckWarn = "warn"
	CheckFail = "fail"
)

// A Report is the result of tokend's doctor.
type Report struct {
	Version string `json:"version"`
	// Proxy is the proxy for requests to issuers, without user and password; empty
	// for none.
	Proxy  string  `json:"proxy,omitempty"`
	Checks []Check `json:"checks"`
}
