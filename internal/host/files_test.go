package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A link that has the name loses it; what it led to is not touched.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	other, path := filepath.Join(dir, "other"), filepath.Join(dir, "file")
	if err := os.WriteFile(other, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, path); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first", "second"} {
		if err := WriteFile(path, 0o666, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("%q, %v, want %q", got, err, text)
		}
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != 0o666 {
		t.Errorf("mode %v, %v, want that of a file, whatever the umask", info.Mode(), err)
	}
	if got, err := os.ReadFile(other); err != nil || string(got) != "other" {
		t.Errorf("what the link led to: %q, %v", got, err)
	}
	if err := SyncDir(dir); err != nil {
		t.Error(err)
	}
	if WriteFile(filepath.Join(dir, "none", "file"), 0o600, strings.NewReader("")) == nil || SyncDir(filepath.Join(dir, "none")) == nil {
		t.Error("no error in a folder that is not there")
	}
}
