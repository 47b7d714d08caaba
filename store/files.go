package store

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"tokend/providers/token"
)

// ensureDir makes dir, and closes it to others. On a disk that is read-only it may be
// there already.
func ensureDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm() == 0o700 {
		return nil
	}
	return cmp.Or(os.MkdirAll(dir, 0o700), os.Chmod(dir, 0o700))
}

// readRegular reads a file of at most limit bytes, following no symbolic link
// in its last element and waiting for no FIFO.
func readRegular(path string, limit int64) ([]byte, fs.FileInfo, error) {
	f, err := openNoFollow(path)
	if err != nil {
		return nil, nil, err
	}
	return token.ReadRegular(f, limit)
}

// readTOML reads a file that tokend alone writes, strictly.
func readTOML(path string, limit int64, into any) error {
	b, _, err := readRegular(path, limit)
	if err != nil {
		return err
	}
	if err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(into); err != nil {
		return fmt.Errorf("%s: tokend did not write this file", path) // the decoder's words are for programmers
	}
	return nil
}

func writeTOML(path string, from any) error {
	b, err := toml.Marshal(from)
	if err != nil {
		return err
	}
	return replaceFile(path, b)
}

// replaceFile makes data the content of path (0600), in one step even if tokend
// crashes. It is on disk when replaceFile returns. renameio does not do that on
// Windows, where a renaming within one NTFS volume is one step.
func replaceFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path))
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // unless it was renamed
	_, err = f.Write(data)
	if err = cmp.Or(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return cmp.Or(os.Rename(f.Name(), path), syncDir(dir))
}

// removeFile removes a file, if it exists, and puts that on disk.
func removeFile(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return cmp.Or(err, syncDir(filepath.Dir(path)))
}

// maxFileName leaves room for a suffix and for the random part of a temporary
// name within the 255 bytes that file systems allow.
const maxFileName = 180

// fileName turns any text into a file name. Lower-case letters, digits, "-" and
// "_" stay, and "." inside; all else is percent-encoded, upper-case letters too,
// because some file systems do not tell them apart. A long name ends in "~" and
// the text's SHA-256.
func fileName(text string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' && i > 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	if b.Len() <= maxFileName {
		return b.String()
	}
	sum := sha256.Sum256([]byte(text))
	return b.String()[:maxFileName-65] + "~" + hex.EncodeToString(sum[:])
}
