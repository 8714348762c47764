package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheckWritable(t *testing.T) {
	dir := t.TempDir()
	file, closed := filepath.Join(dir, "file"), filepath.Join(dir, "closed")
	nothing, toFile := filepath.Join(dir, "to-nothing"), filepath.Join(dir, "to-file")
	for _, err := range []error{
		os.WriteFile(file, nil, 0o600), os.Mkdir(closed, 0o500),
		os.Symlink(filepath.Join(dir, "gone"), nothing), os.Symlink(file, toFile),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		dir:                               "",
		filepath.Join(dir, "new"):         "",
		filepath.Join(dir, "new", "deep"): "",
		file:                              file + ": is not a folder",
		filepath.Join(file, "state"):      file + ": is not a folder",
		filepath.Join(file, "deep", "er"): file + ": is not a folder",
		toFile:                            toFile + ": is not a folder",
		nothing:                           nothing + ": is a link to what is not there",
		filepath.Join(nothing, "state"):   nothing + ": is a link to what is not there",
		"/proc/no":                        "/proc: ",
		"/proc/no/more":                   "/proc: ",
	} {
		err := CheckWritable(path)
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("%v, %v: something was left behind", entries, err)
	}
	if os.Geteuid() != 0 { // root may write everywhere
		if err := CheckWritable(filepath.Join(closed, "state")); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%v, want that it is not allowed", err)
		}
	}
}

func TestHasRoom(t *testing.T) {
	for name, test := range map[string]struct {
		disk unix.Statfs_t
		want bool
	}{
		"free":                {unix.Statfs_t{Bsize: 4096, Bavail: 1 << 20, Files: 1 << 20, Ffree: 1 << 19}, true},
		"no inodes are kept":  {unix.Statfs_t{Bsize: 4096, Bavail: 1 << 20}, true},
		"no block":            {unix.Statfs_t{Bsize: 4096, Files: 1 << 20, Ffree: 1 << 19}, false},
		"less than is enough": {unix.Statfs_t{Bsize: 4096, Bavail: 4095, Files: 1 << 20, Ffree: 1 << 19}, false},
		"just enough":         {unix.Statfs_t{Bsize: 4096, Bavail: 4096, Files: 64, Ffree: 64}, true},
		"no inode":            {unix.Statfs_t{Bsize: 4096, Bavail: 1 << 20, Files: 1 << 20}, false},
	} {
		if got := hasRoom(&test.disk); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
