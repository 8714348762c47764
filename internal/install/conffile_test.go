package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestParseConfFile(t *testing.T) {
	for _, tc := range []struct {
		name, file, data string
		owner            owner
		network          string // "" if there must be a fault
		fault            string
	}{
		{"a list", "a.conflist", bridgeList, others, "cbr0", ""},
		{"a single one", "a.conf", `{"name":"x","type":"bridge"}`, others, "x", ""},
		{"a single one by json", "a.json", `{"name":"x","type":"bridge"}`, others, "x", ""},
		{"ours", "10-flannel.conflist", `{"name":"p","plugins":[{"type":"plexus","clusterNetwork":"/x"}]}`, plexus, "p", ""},
		{"ours, second in the list", "a.conflist", `{"name":"p","plugins":[{"type":"bridge"},{"type":"plexus"}]}`, plexus, "p", ""},
		{"ours, a single one", "a.conf", `{"name":"p","type":"plexus"}`, plexus, "p", ""},
		{"ours, by a key in other letters", "a.conf", `{"name":"p","Type":"plexus"}`, plexus, "p", ""},
		{"named as ours, but not", "00-plexus.conflist", bridgeList, others, "cbr0", ""},
		{"called plexus", "a.conf", `{"name":"plexus","type":"bridge"}`, others, "plexus", ""},
		{"of Multus", "a.conf", `{"name":"m","type":"multus","delegates":[]}`, multus, "m", ""},
		{"of Multus, thick", "a.conf", `{"name":"m","type":"multus-shim"}`, multus, "m", ""},
		{"of Multus, a list", "a.conflist", `{"name":"m","plugins":[{"type":"multus"}]}`, multus, "m", ""},
		{"of Multus, and broken", "a.conf", `{"type":"multus","name":7}`, multus, "", "name"},
		{"nothing", "a.conf", ``, others, "", "end of JSON"},
		{"half a file", "a.conflist", bridgeList[:40], others, "", "end of JSON"},
		{"no JSON", "a.conf", "type: bridge", others, "", "invalid character"},
		{"an array", "a.conflist", `[]`, others, "", "cannot unmarshal array"},
		{"without a name", "a.conf", `{"type":"bridge"}`, others, "", `name: "" is not the name of a network`},
		{"a list without a name", "a.conflist", `{"plugins":[{"type":"bridge"}]}`, others, "", "no name"},
		{"a name that is a path", "a.conflist", `{"name":"../x","plugins":[{"type":"bridge"}]}`, others, "", `name: "../x" is not the name`},
		{"without a type", "a.conf", `{"name":"x"}`, others, "", "missing 'type'"},
		{"a list that is named .conf", "a.conf", bridgeList, others, "", "a list belongs into a .conflist file"},
		{"a single one that is named .conflist", "a.conflist", `{"name":"x","type":"bridge"}`, others, "", "a single configuration belongs into a .conf file"},
		{"an empty list", "a.conflist", `{"name":"x","plugins":[]}`, others, "", "no plugins in list"},
		{"a plugin without a type", "a.conflist", `{"name":"x","plugins":[{}]}`, others, "", "missing 'type'"},
		{"a plugin by its path", "a.conf", `{"name":"x","type":"/bin/sh"}`, others, "", "must be a plain name"},
		{"two keys of one field", "a.conf", `{"name":"x","type":"bridge","TYPE":"bridge"}`, others, "", "stands beside"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := parseConfFile(filepath.Join(t.TempDir(), tc.file), []byte(tc.data))
			check.Equal(t, "file", file.name, tc.file)
			check.Equal(t, "owner", file.owner, tc.owner)
			if tc.network == "" {
				check.Error(t, file.fault, tc.fault)
				return
			}
			check.Must(t, file.fault)
			check.Equal(t, "network", file.conf.Name, tc.network)
		})
	}
}

// TestParseConfFileWithAFolder: libcni adds the plugins of the folder of the list's name.
func TestParseConfFileWithAFolder(t *testing.T) {
	dir := t.TempDir()
	check.Must(t, os.Mkdir(filepath.Join(dir, "net"), 0o755))
	check.Must(t, os.WriteFile(filepath.Join(dir, "net", "1.conf"), []byte(`{"type":"tuning","capabilities":{"mac":true}}`), 0o600))
	for name, tc := range map[string]struct {
		data string
		want []string
	}{
		"besides":  {`{"name":"net","plugins":[{"type":"bridge"}]}`, []string{"bridge", "tuning"}},
		"alone":    {`{"name":"net"}`, []string{"tuning"}},
		"not here": {`{"name":"net","loadOnlyInlinedPlugins":true,"plugins":[{"type":"bridge"}]}`, []string{"bridge"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := parseConfFile(filepath.Join(dir, "a.conflist"), []byte(tc.data))
			check.Must(t, file.fault)
			check.Equal(t, "executables", executablesOf(file.conf), tc.want)
		})
	}
	check.Must(t, os.WriteFile(filepath.Join(dir, "net", "2.conf"), []byte(`{"type":"plexus"}`), 0o600))
	check.Equal(t, "owner", parseConfFile(filepath.Join(dir, "a.conflist"), []byte(`{"name":"net"}`)).owner, plexus)
	check.Must(t, os.WriteFile(filepath.Join(dir, "net", "3.conf"), []byte(`{`), 0o600))
	check.Error(t, parseConfFile(filepath.Join(dir, "a.conflist"), []byte(`{"name":"net"}`)).fault, "error parsing configuration")
}

func TestExecutables(t *testing.T) {
	for name, tc := range map[string]struct {
		data string
		want []string
	}{
		"with ipam":         {`{"name":"x","type":"bridge","ipam":{"type":"static"}}`, []string{"bridge", "static"}},
		"what flannel runs": {`{"name":"x","type":"flannel"}`, []string{"bridge", "flannel", "host-local"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := parseConfFile("/nowhere/a.conf", []byte(tc.data))
			check.Must(t, file.fault)
			check.Equal(t, "executables", executablesOf(file.conf), tc.want)
		})
	}
}

func TestReadConfDir(t *testing.T) {
	n := newTestNode(t)
	for _, name := range []string{"20-a.conf", "10-b.conflist", "10-a.json", "100.conflist", "x.cilium_bak", "y.conflist.bak", ".hidden.plexus-tmp", "README"} {
		n.conf(name, bridgeList)
	}
	check.Must(t, os.Mkdir(n.confPath("30-folder.conf"), 0o755))
	check.Must(t, os.Symlink("10-b.conflist", n.confPath("40-link.conflist")))
	check.Must(t, os.Symlink("nowhere", n.confPath("41-link.conflist")))
	check.Must(t, unix.Mkfifo(n.confPath("42-fifo.conflist"), 0o600))
	check.Must(t, os.WriteFile(n.confPath("43-big.conflist"), make([]byte, maxConfSize+1), 0o600))
	files, err := readConfDir(n.options.ConfDir)
	check.Must(t, err)
	got := []string{}
	for _, file := range files {
		fault := ""
		if file.fault != nil {
			fault = file.fault.Error()
		}
		got = append(got, file.name+" "+strings.ReplaceAll(fault, n.options.ConfDir, ""))
	}
	check.Equal(t, "files", got, []string{
		"10-a.json error parsing configuration: missing 'type' (a list belongs into a .conflist file)", "10-b.conflist ", "100.conflist ",
		"20-a.conf error parsing configuration: missing 'type' (a list belongs into a .conflist file)",
		"40-link.conflist ", "41-link.conflist cannot be read: it is a link to nowhere, which is not to be seen here: mount it too, by the same path",
		"42-fifo.conflist is not a regular file", "43-big.conflist has 1048577 bytes, more than a configuration may have (1048576)",
	})
	files, err = readConfDir(filepath.Join(n.options.ConfDir, "nowhere"))
	if err != nil || len(files) != 0 {
		t.Errorf("a folder that is not there has %v, error %v", files, err)
	}
	_, err = readConfDir(n.confPath("README"))
	check.Error(t, err, "read the folder of configurations", "README")
}

func FuzzParseConfFile(f *testing.F) {
	for _, seed := range []string{
		bridgeList, ``, `{}`, `[]`, `null`, `{"name":"x","type":"multus"}`, `{"name":"x","plugins":[{"type":"plexus"},3,null]}`,
		`{"name":"x","cniVersions":["1.0.0",7]}`, `{"name":"x","cniVersions":["x"]}`, `{"name":"..","plugins":[{"type":"a"}]}`,
		`{"name":"x","type":"flannel","delegate":{"type":"flannel"}}`, `{"type":{"type":"plexus"}}`, "{\"name\":\"\xff\",\"type\":\"a\"}",
		`{"name":"x","plugins":[{"type":"a","capabilities":{"b":1}}]}`, `{"name":"x","loadOnlyInlinedPlugins":"maybe"}`,
	} {
		for _, extension := range []string{"conf", "conflist"} {
			f.Add(extension, []byte(seed))
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, extension string, data []byte) {
		file := parseConfFile(filepath.Join(dir, "f."+strings.ReplaceAll(extension, "/", "")), data)
		if (file.conf == nil) == (file.fault == nil) {
			t.Fatalf("both or neither of a configuration and a fault: %v, %v", file.conf, file.fault)
		}
		if file.conf == nil {
			return
		}
		if len(executablesOf(file.conf)) == 0 || checkName(file.conf.Name) != nil {
			t.Errorf("a configuration that nobody can run: %q, %q", file.conf.Name, executablesOf(file.conf))
		}
		for _, name := range executablesOf(file.conf) {
			if strings.ContainsRune(name, '/') {
				t.Errorf("the executable %q is a path", name)
			}
		}
	})
}
