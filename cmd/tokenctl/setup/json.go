package setup

import (
	"encoding/json"
	"strings"
)

// insertMember puts a member first into the JSON object that begins at text[at],
// and leaves the rest as it was.
func insertMember(text string, at int, name, value string) string {
	key, _ := json.Marshal(name)
	comma := ","
	if strings.HasPrefix(strings.TrimSpace(text[at+1:]), "}") {
		comma = ""
	}
	return text[:at+1] + string(key) + ": " + value + comma + text[at+1:]
}

// findMember finds a member of the JSON object that begins at text[at]: where its
// name begins, where its value begins, and where it ends. end is 0 if there is none.
func findMember(text string, at int, name string) (begin, value, end int) {
	d := json.NewDecoder(strings.NewReader(text[at:]))
	_, err := d.Token() // the object's {
	for err == nil && d.More() {
		begin = at + int(d.InputOffset())
		begin = len(text) - len(strings.TrimLeft(text[begin:], ", \t\r\n"))
		var key json.Token
		var member json.RawMessage
		if key, err = d.Token(); err == nil {
			err = d.Decode(&member)
		}
		if err == nil && key == name {
			end = at + int(d.InputOffset())
			return begin, end - len(member), end
		}
	}
	return 0, 0, 0
}

// removeMember takes out the member between begin and end, with its comma.
func removeMember(text string, begin, end int) string {
	if rest, ok := strings.CutPrefix(strings.TrimLeft(text[end:], " \t\r\n"), ","); ok {
		return text[:begin] + rest
	}
	before := strings.TrimRight(text[:begin], " \t\r\n")
	if head, ok := strings.CutSuffix(before, ","); ok {
		return head + text[end:]
	}
	return text[:begin] + text[end:]
}
