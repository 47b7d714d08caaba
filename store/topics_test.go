package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/zalando/go-keyring"

	"tokend/docs"
	"tokend/packaging/checktest"
	. "tokend/providers/fixturetest"
	"tokend/providers/token"
	"tokend/store/internal/seal"
)

// All topics that the sources name stand in docs/errors.md, and the other way
// round: those of macOS and Windows cannot be reached here.
func TestKeystoreTopicsAreDocumented(t *testing.T) {
	named := map[string]bool{"kept-key": true} // providers/keys.go: a key that is there and cannot be used
	for _, file := range Val(filepath.Glob("*.go")) {
		text := Val(os.ReadFile(file))
		for _, m := range regexp.MustCompile(`(?:fail\(\S+, |broken\(|Topic: |topic :?= )"([a-z]+(?:-[a-z]+)+)"`).FindAllStringSubmatch(string(text), -1) {
			named[m[1]] = true
		}
	}
	documented := map[string]bool{}
	for _, topic := range docs.ErrorTopics() {
		if topic.Group == "Keyring and keystore" {
			for _, name := range topic.Names {
				documented[name] = true
			}
		}
	}
	for name := range named {
		if !documented[name] {
			t.Errorf("topic %q is not in docs/errors.md", name)
		}
	}
	for name := range documented {
		if !named[name] {
			t.Errorf("nothing has topic %q of docs/errors.md", name)
		}
	}
}

func topicOf(err error) string {
	if e, ok := errors.AsType[*token.Error](err); ok {
		return e.Topic
	}
	return ""
}

// wantTopic checks an error's identity and topic.
func wantTopic(t *testing.T, err error, code token.Code, topic string) {
	t.Helper()
	if WantCode(t, err, code); topicOf(err) != topic {
		t.Errorf("%v: topic %q, want %q", err, topicOf(err), topic)
	}
}

func TestKeystoreErrorsHaveTopics(t *testing.T) {
	dir := t.TempDir()
	first := openSealed(filepath.Join(dir, "a"), seal.NewKey())
	Must(t, first.Set(t.Context(), "clms/key/1", token.NewSecret("x")))
	Must(t, os.WriteFile(first.path("clms/key/3"), []byte(sealedMagic+first.keyID+"\nnot what was sealed, by far"), 0o600))
	short := filepath.Join(dir, "short")
	Must(t, os.WriteFile(short, []byte("x"), 0o400))

	for want, err := range map[string]error{
		"sealed-other-key":    ErrOf(OpenSealed(first.dir, seal.NewKey())),
		"secret-damaged":      ErrOf(first.Get(t.Context(), "clms/key/3")),
		"key-file-missing":    ErrOf(readKey(filepath.Join(dir, "none"), 0o077)),
		"key-file":            ErrOf(readKey(short, 0o077)),
		"keyring-late":        errLate,
		"secret-too-long":     explain("a", keyring.ErrSetDataTooBig),
		"keyring-unsupported": explain("a", keyring.ErrUnsupportedPlatform),
		"keyring-error":       explain("a", errors.New("words of the system")),
	} {
		wantTopic(t, err, token.ErrKeystore, want)
	}
	wantTopic(t, errAsks, token.ErrLocked, "keyring-prompt")
	wantTopic(t, ErrOf(ReadKeystoreConfig(dir)), token.ErrNotFound, "not-set-up")
	wantTopic(t, ErrOf(first.Get(t.Context(), "clms/key/2")), token.ErrNotFound, "secret-missing")
	wantTopic(t, explain("a", keyring.ErrNotFound), token.ErrNotFound, "secret-missing")
	wantTopic(t, fail(token.ErrKeystore, "", fail(token.ErrKeystore, "key-file", fs.ErrPermission, "x"), "y"), token.ErrKeystore, "key-file")
}

func TestAFullDiskIsCalledSo(t *testing.T) {
	full := os.WriteFile("/dev/full", []byte("x"), 0o600)
	if full == nil {
		checktest.Unable(t, "this system has no /dev/full")
	}
	for _, err := range []error{recordError(full), sealedError("a", full), credentialError("clms", full)} {
		if e, ok := errors.AsType[*token.Error](err); !ok || e.Topic != "disk-full" || !strings.HasPrefix(e.Message, "the disk is full: ") {
			t.Errorf("%+v", err)
		}
	}
}
