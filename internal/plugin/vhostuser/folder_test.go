package vhostuser

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/plugin/statefile"
)

// testPlace is a place below a base of its own, and a file outside that nobody may
// touch.
type testPlace struct {
	*Place
	t       *testing.T
	outside string // a folder
	secret  string // a file in it
}

func newPlace(t *testing.T) *testPlace {
	t.Helper()
	dir := t.TempDir()
	p := &testPlace{t: t, outside: filepath.Join(dir, "outside"), Place: &Place{
		Base: filepath.Join(dir, "base"), Dirs: []string{"pod", "net0"}, Socket: "vhost.sock", Config: "config.json",
	}}
	p.secret = filepath.Join(p.outside, "secret")
	must(t, os.Mkdir(p.outside, 0o700))
	must(t, os.WriteFile(p.secret, []byte("secret"), 0o600))
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (p *testPlace) at(names ...string) string {
	return filepath.Join(append([]string{p.Base}, names...)...)
}

func (p *testPlace) makeIt() error { return p.make(os.Getuid(), os.Getgid(), []byte("config")) }

// untouched demands that what is outside is as it was.
func (p *testPlace) untouched() {
	p.t.Helper()
	data, err := os.ReadFile(p.secret)
	info, statErr := os.Stat(p.outside)
	if err != nil || statErr != nil || string(data) != "secret" || info.Mode().Perm() != 0o700 {
		p.t.Fatalf("what is outside was touched: %q, %v, %v, %v", data, err, info, statErr)
	}
	entries, err := os.ReadDir(p.outside)
	must(p.t, err)
	if len(entries) != 1 {
		p.t.Fatalf("there is more outside than was: %v", entries)
	}
}

func TestPlaceMakeAndRemove(t *testing.T) {
	p := newPlace(t)
	must(t, p.makeIt())
	must(t, p.makeIt()) // again
	must(t, p.verify(os.Getuid(), os.Getgid(), []byte("config")))
	for path, want := range map[string]os.FileMode{p.at(): 0o755, p.at("pod"): 0o755, p.at("pod", "net0"): 0o770, p.at("pod", "net0", "config.json"): 0o644} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
	}
	must(t, os.MkdirAll(p.at("pod", "net0", "a", "b"), 0o700))
	must(t, p.remove(t.Context(), false))
	must(t, p.remove(t.Context(), false)) // again
	if entries, err := os.ReadDir(p.Base); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	must(t, os.Remove(p.Base))
	must(t, p.remove(t.Context(), false)) // without a base too
}

func TestPlaceRemoveKeepsWhatIsOfOthers(t *testing.T) {
	p := newPlace(t)
	must(t, p.makeIt())
	must(t, os.WriteFile(p.at("pod", "net0", "other.sock"), nil, 0o600))
	must(t, os.WriteFile(p.at("pod", "net0", "vhost.sock"), nil, 0o600))
	must(t, p.remove(t.Context(), true))
	names := readNames(t, p.at("pod", "net0"))
	if diff := cmp.Diff([]string{"other.sock"}, names); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	must(t, os.Mkdir(p.at("pod", "net1"), 0o700))
	must(t, p.remove(t.Context(), false))
	if diff := cmp.Diff([]string{"net1"}, readNames(t, p.at("pod"))); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func readNames(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

// A pod that is root where its folder is may put anything in the place of anything.
func TestPlaceIsHardToLeadAstray(t *testing.T) {
	for name, hostile := range map[string]func(p *testPlace) error{
		"link for the pod's folder": func(p *testPlace) error {
			return errors.Join(os.RemoveAll(p.at("pod")), os.Symlink(p.outside, p.at("pod")))
		},
		"link for the interface's folder": func(p *testPlace) error {
			return errors.Join(os.RemoveAll(p.at("pod", "net0")), os.Symlink(p.outside, p.at("pod", "net0")))
		},
		"relative link": func(p *testPlace) error {
			return errors.Join(os.RemoveAll(p.at("pod", "net0")), os.Symlink("../../outside", p.at("pod", "net0")))
		},
		"link to another pod's": func(p *testPlace) error {
			return errors.Join(os.Mkdir(p.at("victim"), 0o755), os.RemoveAll(p.at("pod", "net0")), os.Symlink("../victim", p.at("pod", "net0")))
		},
		"link for the configuration file": func(p *testPlace) error {
			return errors.Join(os.Remove(p.at("pod", "net0", "config.json")), os.Symlink(p.secret, p.at("pod", "net0", "config.json")))
		},
		"link for the temporary file": func(p *testPlace) error {
			return os.Symlink(p.secret, p.at("pod", "net0", ".config.json.new"))
		},
		"link for the socket":    func(p *testPlace) error { return os.Symlink(p.secret, p.at("pod", "net0", "vhost.sock")) },
		"hard link":              func(p *testPlace) error { return os.Link(p.secret, p.at("pod", "net0", ".config.json.new")) },
		"FIFO for the file":      func(p *testPlace) error { return replaceByFIFO(p.at("pod", "net0", "config.json")) },
		"file for the folder":    func(p *testPlace) error { return replaceByFile(p.at("pod", "net0")) },
		"folder for the socket":  func(p *testPlace) error { return os.MkdirAll(p.at("pod", "net0", "vhost.sock", "x"), 0o700) },
		"links deep in a tree":   func(p *testPlace) error { return plantLinks(p.at("pod", "net0"), p.outside) },
		"names of lifted things": func(p *testPlace) error { return plantLifted(p.at("pod", "net0")) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			must(t, p.makeIt())
			must(t, hostile(p))
			err := p.makeIt()
			t.Logf("make: %v", err)
			p.untouched()
			if err := p.verify(os.Getuid(), os.Getgid(), []byte("config")); err == nil && strings.HasPrefix(name, "link for the pod") {
				t.Error("verify follows the link")
			}
			must(t, p.remove(t.Context(), false))
			p.untouched()
			if names := readNames(t, p.Base); len(names) > 0 && names[0] != "victim" {
				t.Errorf("left: %v", names)
			}
		})
	}
}

func replaceByFIFO(path string) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o666)) }

func replaceByFile(path string) error {
	return errors.Join(os.RemoveAll(path), os.WriteFile(path, nil, 0o600))
}

func plantLinks(dir, outside string) error {
	deep := filepath.Join(dir, "a", "b", "c")
	return errors.Join(os.MkdirAll(deep, 0o700), os.Symlink(outside, filepath.Join(deep, "l")), os.Symlink(outside, filepath.Join(dir, "a", "l")))
}

func plantLifted(dir string) error {
	return errors.Join(os.MkdirAll(filepath.Join(dir, ".lifted.1", "x", "y"), 0o700), os.MkdirAll(filepath.Join(dir, "a", "b", "c"), 0o700),
		os.WriteFile(filepath.Join(dir, ".lifted.2"), nil, 0o600))
}

// A tree that is deeper than a path may be long, and than there are descriptors for.
func TestRemoveTreeOfAnyDepth(t *testing.T) {
	p := newPlace(t)
	must(t, p.makeIt())
	const depth = 1000
	at, err := openBase(p.at("pod", "net0"), false)
	must(t, err)
	for range depth {
		inner, err := at.enter("deep", 0o700)
		must(t, err)
		must(t, at.Close())
		at = inner
	}
	must(t, at.Close())
	must(t, p.remove(t.Context(), false))
	if names := readNames(t, p.Base); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

func TestOpenBaseRefusesOneThatOthersWriteTo(t *testing.T) {
	p := newPlace(t)
	must(t, os.Mkdir(p.Base, 0o755))
	must(t, os.Chmod(p.Base, 0o777))
	if err := p.makeIt(); err == nil {
		t.Error("makes folders where anybody may put links")
	}
	must(t, p.remove(t.Context(), false))
}

func TestPlaceVerify(t *testing.T) {
	for name, spoil := range map[string]func(p *testPlace) error{
		"mode": func(p *testPlace) error { return os.Chmod(p.Dir(), 0o777) },
		"content": func(p *testPlace) error {
			return os.WriteFile(p.at("pod", "net0", "config.json"), []byte("other!"), 0o644)
		},
		"longer": func(p *testPlace) error {
			return os.WriteFile(p.at("pod", "net0", "config.json"), []byte("configs"), 0o644)
		},
		"no file":       func(p *testPlace) error { return os.Remove(p.at("pod", "net0", "config.json")) },
		"no folder":     func(p *testPlace) error { return os.RemoveAll(p.Dir()) },
		"a FIFO":        func(p *testPlace) error { return replaceByFIFO(p.at("pod", "net0", "config.json")) },
		"another owner": func(*testPlace) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			must(t, p.makeIt())
			must(t, spoil(p))
			uid := os.Getuid()
			if name == "another owner" {
				uid++
			}
			if err := p.verify(uid, os.Getgid(), []byte("config")); err == nil {
				t.Error("found nothing")
			}
		})
	}
}

func TestPlaceCheck(t *testing.T) {
	for name, p := range map[string]Place{
		"relative":   {Base: "b", Dirs: []string{"d"}, Socket: "s", Config: "c"},
		"root":       {Base: "/", Dirs: []string{"d"}, Socket: "s", Config: "c"},
		"no folders": {Base: "/b", Socket: "s", Config: "c"},
		"up":         {Base: "/b", Dirs: []string{".."}, Socket: "s", Config: "c"},
		"slash":      {Base: "/b", Dirs: []string{"d"}, Socket: "s/t", Config: "c"},
		"empty":      {Base: "/b", Dirs: []string{"d"}, Socket: "s"},
		"the same":   {Base: "/b", Dirs: []string{"d"}, Socket: "s", Config: "s"},
	} {
		if err := p.check(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestStore(t *testing.T) {
	store := storeIn(filepath.Join(t.TempDir(), "a", "b"))
	c := defaults(func(c *Config) { c.Raw = []byte(`{"bridge":"br0"}`) })
	want := newState(c, &Attachment{Network: "fast", ContainerID: "c1", Interface: "net0"})
	if all, err := store.all(); err != nil || len(all) != 0 {
		t.Errorf("without a folder: %v, %v", all, err)
	}
	if _, err := store.Read(want.Port); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that there is none", err)
	}
	must(t, store.Write(want))
	got, err := store.Read(want.Port)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	must(t, os.WriteFile(store.Path("vhu000000000000"), []byte("{"), 0o600))
	all, err := store.all()
	if !errors.Is(err, statefile.ErrDamaged) || len(all) != 1 {
		t.Errorf("with a damaged one: %v, %v", all, err)
	}
	must(t, store.Remove(want.Port))
	must(t, store.Remove(want.Port))
	if names := readNames(t, store.Dir); len(names) != 1 {
		t.Errorf("left: %v", names)
	}
}

func FuzzParseState(f *testing.F) {
	c := defaults(func(c *Config) { c.Raw = []byte(`{}`) })
	store := storeIn(f.TempDir())
	state := newState(c, &Attachment{Network: "fast", ContainerID: "c1", Interface: "net0"})
	must(f, store.Write(state))
	whole, err := os.ReadFile(store.Path(state.Port))
	must(f, err)
	f.Add(whole)
	f.Add([]byte(strings.Replace(string(whole), `"net0"]`, `"../../etc"]`, 1)))
	f.Add([]byte(strings.Replace(string(whole), `"format":1`, `"format":2`, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := store.Parse(data)
		if err != nil {
			return
		}
		// Root removes what it says.
		if !strings.HasPrefix(s.Place.Dir(), s.Place.Base+"/") || s.Port != s.attachment().PortName() || s.DeviceInfo != "" && !isClean(s.DeviceInfo) {
			t.Errorf("leads elsewhere: %+v", s)
		}
	})
}
