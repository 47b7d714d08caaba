package token

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// MaxConfig bounds a file that people write for tokend, in bytes.
const MaxConfig = 1 << 20

// ReadConfig reads a file that people write: config.toml, a profile, certificates.
func ReadConfig(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO makes no one wait
	if err != nil {
		return nil, err
	}
	text, _, err := ReadRegular(f, MaxConfig)
	return text, err
}

// ReadRegular reads a file and closes it. It refuses what is not a regular file,
// and one of more than limit bytes.
func ReadRegular(f *os.File, limit int64) (text []byte, info fs.FileInfo, err error) {
	defer func() { _ = f.Close() }()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", f.Name())
	}
	text, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", f.Name(), limit)
	}
	if err != nil {
		return nil, nil, err
	}
	return text, info, nil
}

// FileFault returns the text of an error about a file without the name of the
// system call: "/etc/ca.pem: permission denied".
func FileFault(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Path + ": " + path.Err.Error()
	}
	return err.Error()
}
