package fixturetest

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tokend/providers/token"
)

// Must ends the test at an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Val returns the value of a call that must not fail.
func Val[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// ErrOf returns the error of a call that also returns something else.
func ErrOf[T any](_ T, err error) error { return err }

// WantCode checks an error's identity, and that it says something in one line, says
// among it.
func WantCode(t testing.TB, err error, code token.Code, says ...string) {
	t.Helper()
	if !errors.Is(err, code) || err.Error() == "" || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), strings.Join(says, "")) {
		t.Errorf("got error %v, want %q %q", err, string(code), says)
	}
}

// Tree returns the content of all files under dir, by path.
func Tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	Must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	}))
	return files
}

// NoCanary checks that no file under dir, nor its name, shows any of texts.
func NoCanary(t testing.TB, dir string, texts ...string) {
	t.Helper()
	files := Tree(t, dir)
	if len(files) == 0 {
		t.Errorf("there is no file under %s", dir)
	}
	for path, content := range files {
		for _, text := range texts {
			if strings.Contains(path+"\x00"+content, text) {
				t.Errorf("%s shows %q", path, text)
			}
		}
	}
}

// WantModes checks that others can use nothing under dir.
func WantModes(t testing.TB, dir string) {
	t.Helper()
	Must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	}))
}

// AnswerAll gives each caller of l, once it has asked, the same answer, and hangs up.
// It ends with l.
func AnswerAll(l net.Listener, raw string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = conn.Read(make([]byte, 1<<16))
			_, _ = io.WriteString(conn, raw)
			_ = conn.Close()
		}()
	}
}
