package statefile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

type thing struct {
	Format int    `json:"format"`
	Name   string `json:"name"`
	Size   int    `json:"size"`
}

var errNegative = errors.New("size: is negative")

func newFolder(t *testing.T) *Folder[thing] {
	t.Helper()
	return &Folder[thing]{
		Dir: filepath.Join(t.TempDir(), "a", "b"), Format: 2,
		Name: func(s *thing) string { return s.Name },
		Check: func(s *thing) error {
			if s.Size < 0 {
				return errNegative
			}
			return nil
		},
	}
}

// files gives the names in the folder.
func files(t *testing.T, f *Folder[thing]) []string {
	t.Helper()
	entries, err := os.ReadDir(f.Dir)
	check.Must(t, err)
	names := []string{}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestLife(t *testing.T) {
	f := newFolder(t)
	names, err := f.Names()
	check.Must(t, err)
	check.Equal(t, "names without a folder", len(names), 0)
	if _, err := f.Read("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
	for _, size := range []int{1, 2} {
		want := &thing{Format: 2, Name: "x", Size: size}
		check.Must(t, f.Write(want))
		got, err := f.Read("x")
		check.Must(t, err)
		check.Equal(t, "state", got, want)
	}
	check.Must(t, f.Write(&thing{Format: 1, Name: "old"}))
	check.Equal(t, "files", files(t, f), []string{"old.json", "x.json"})
	names, err = f.Names()
	check.Must(t, err)
	check.Equal(t, "names", names, []string{"old", "x"})
	for _, path := range []string{f.Dir, f.Path("x")} {
		info, err := os.Stat(path)
		check.Must(t, err)
		check.Equal(t, "what others may do with "+path, info.Mode().Perm()&0o077, 0)
	}
	check.Must(t, f.Remove("x"))
	check.Must(t, f.Remove("x"))
	check.Equal(t, "files", files(t, f), []string{"old.json"})
}

func TestReadWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct {
		data string
		is   error
	}{
		"empty":            {"", ErrDamaged},
		"torn":             {`{"format":2,"na`, ErrDamaged},
		"another document": {`{"kind":"Pod"}`, ErrDamaged},
		"no format":        {`{"format":0,"name":"x"}`, ErrDamaged},
		"wrong shape":      {`{"format":2,"name":"x","size":"big"}`, ErrDamaged},
		"wrong content":    {`{"format":2,"name":"x","size":-1}`, errNegative},
		"another's":        {`{"format":2,"name":"y"}`, ErrDamaged},
		"newer":            {`{"format":3,"name":"x","size":"big"}`, ErrNewer},
		"too large":        {`{"format":2,"name":"x"}` + strings.Repeat(" ", maxSize), ErrDamaged},
	} {
		f := newFolder(t)
		check.Must(t, host.MakeDir(f.Dir))
		check.Must(t, os.WriteFile(f.Path("x"), []byte(tc.data), 0o600))
		_, err := f.Read("x")
		if !errors.Is(err, tc.is) || errors.Is(err, ErrDamaged) == errors.Is(err, ErrNewer) || !strings.HasPrefix(err.Error(), "state "+f.Path("x")+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := newFolder(t)
	check.Must(t, os.MkdirAll(f.Path("x"), 0o700))
	if _, err := f.Read("x"); !errors.Is(err, ErrDamaged) {
		t.Errorf("a folder: %v", err)
	}
}

func TestSetAside(t *testing.T) {
	f := newFolder(t)
	check.Must(t, host.MakeDir(f.Dir))
	for range 2 {
		check.Must(t, os.WriteFile(f.Path("x"), nil, 0o600))
		check.Must(t, f.SetAside("x"))
	}
	check.Equal(t, "files", files(t, f), []string{"x.json.corrupt", "x.json.corrupt.2"})
	names, err := f.Names()
	check.Must(t, err)
	check.Equal(t, "number of names", len(names), 0)
	if err := f.SetAside("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
}

// What a killed writer left is no state, and goes by itself or with the state.
func TestUnfinished(t *testing.T) {
	f := newFolder(t)
	check.Must(t, f.Write(&thing{Format: 2, Name: "y"}))
	for _, name := range []string{"x", "y", "z"} {
		check.Must(t, os.WriteFile(f.Path(name)+".new", []byte("{"), 0o600))
	}
	names, err := f.Names()
	check.Must(t, err)
	check.Equal(t, "names", names, []string{"y"})
	unfinished, err := f.Unfinished()
	check.Must(t, err)
	check.Equal(t, "unfinished", unfinished, []string{"x", "y", "z"})
	check.Must(t, f.RemoveUnfinished("y"))
	check.Must(t, f.RemoveUnfinished("y"))
	check.Must(t, f.Remove("x"))
	check.Must(t, f.Write(&thing{Format: 2, Name: "z"}))
	check.Equal(t, "files", files(t, f), []string{"y.json", "z.json"})
}

func TestNames(t *testing.T) {
	f := newFolder(t)
	for _, name := range []string{"", ".", "..", ".x", "a/b", "a\x00", "a\nb", strings.Repeat("a", 247)} {
		if CheckName(name) == nil || f.Write(&thing{Format: 2, Name: name}) == nil {
			t.Errorf("%.20q can be written", name)
		}
		if _, err := f.Lock(t.Context(), name); err == nil {
			t.Errorf("%.20q can be locked", name)
		}
	}
	check.Must(t, f.Write(&thing{Format: 2, Name: strings.Repeat("a", 246)}))
	check.Must(t, os.WriteFile(filepath.Join(f.Dir, ".hidden.json"), nil, 0o600))
	names, err := f.Names()
	check.Must(t, err)
	check.Equal(t, "number of names", len(names), 1)
}

func TestWriteWhatCannotBeRead(t *testing.T) {
	f := newFolder(t)
	if err := f.Write(&thing{Format: 2, Name: "x", Size: -1}); !errors.Is(err, errNegative) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(f.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}

func TestLock(t *testing.T) {
	f := newFolder(t)
	lock, err := f.Lock(t.Context(), "x")
	check.Must(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Lock(ended, "x"); !errors.Is(err, host.ErrLocked) || types.CodeOf(err, 0) != types.CodeTryAgainLater {
		t.Errorf("a taken one: %v", err)
	}
	check.Must(t, lock.Close())
	again, err := f.Lock(ended, "x")
	check.Must(t, err)
	check.Must(t, again.Close())
	check.Equal(t, "files", files(t, f), []string{"x.lock"})
	names, err := f.Names()
	check.Must(t, err)
	check.Equal(t, "number of names", len(names), 0)
}

func TestWritable(t *testing.T) {
	f := newFolder(t)
	check.Must(t, f.Writable())
	check.Equal(t, "files", files(t, f), []string{})
	check.Must(t, os.Remove(f.Dir))
	check.Must(t, os.WriteFile(f.Dir, nil, 0o600))
	for what, err := range map[string]error{"write": f.Writable(), "list": func() error { _, err := f.Names(); return err }()} {
		if err == nil || !strings.HasPrefix(err.Error(), "state folder: ") {
			t.Errorf("%s in a file: %v", what, err)
		}
	}
}
