package cache

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tokend/packaging/checktest"
	. "tokend/providers/fixturetest"
	"tokend/providers/token"
)

func TestCacheIsClosedToOthersWhateverTheUmask(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	path := cachePath(t)
	c := openCache(t, path)
	Must(t, os.Truncate(path, 1))
	Must(t, save(c, testRecord("a", ""))) // with a file put aside
	Must(t, c.Close())
	WantModes(t, path)
	WantModes(t, path+corruptSuffix)
	Must(t, os.Chmod(path, 0o666))
	openCache(t, path)
	WantModes(t, path)
}

// The test mounts file systems, in a namespace of its own.
func TestCacheOnAFullOrReadOnlyDisk(t *testing.T) {
	const env = "TOKEND_STORE_TEST_DISK"
	if dir := os.Getenv(env); dir != "" {
		fillDisk(t, dir)
		readOnlyDisk(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), env+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EACCES) {
		checktest.Unable(t, "this machine has no mount namespaces: %v", err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func fillDisk(t *testing.T, dir string) {
	Must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	Must(t, unix.Mount("tokend", dir, "tmpfs", 0, "size=1m"))
	path := filepath.Join(dir, "cache.db")
	c := openCache(t, path)
	rec := testRecord("a", "")
	Must(t, save(c, rec))

	full := filepath.Join(dir, "full")
	fill(t, full)
	big := testRecord("big", "")
	big.Token.Secret = token.NewSecret(strings.Repeat("x", 200<<10))
	for range 3 {
		if err := save(c, big); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the disk is full: ") {
			t.Errorf("saved on a full disk: %v", err)
		}
	}
	wantRecords(t, c, rec)
	Must(t, os.Remove(full))
	Must(t, save(c, big))
	wantRecords(t, c, rec, big)
	if said := c.Notices(); len(said) != 0 {
		t.Errorf("notices %q", said)
	}
	Must(t, c.Close())

	// Full from the start.
	Must(t, os.Remove(path))
	fill(t, full)
	c = openCache(t, path)
	if err := save(c, rec); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("saved on a full disk: %v", err)
	}
	Must(t, os.Remove(full))
	Must(t, save(c, rec))
	wantRecords(t, c, rec)
	Must(t, c.Close())
}

// fill makes a file that takes all the space there is.
func fill(t *testing.T, path string) {
	f, err := os.Create(path)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	Must(t, f.Close())
}

func readOnlyDisk(t *testing.T, dir string) {
	path := filepath.Join(dir, "cache.db")
	Must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	c := openCache(t, path)
	if err := save(c, testRecord("b", "")); !errors.Is(err, syscall.EROFS) {
		t.Errorf("saved on a read-only disk: %v", err)
	}
	Must(t, unix.Mount("", dir, "", unix.MS_REMOUNT, ""))
	Must(t, save(c, testRecord("b", "")))
	Must(t, c.Close())
}
