package confdir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
)

const bridgeList = `{"cniVersion": "1.0.0", "name": "cbr0", "plugins": [
	{"type": "bridge", "ipam": {"type": "host-local"}},
	{"type": "portmap", "capabilities": {"portMappings": true, "snat": false}}]}`

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name, file, data string
		owner            Owner
		network          string // "" if there must be a fault
		fault            string
	}{
		{"a list", "a.conflist", bridgeList, Others, "cbr0", ""},
		{"a single one", "a.conf", `{"name":"x","type":"bridge"}`, Others, "x", ""},
		{"a single one by json", "a.json", `{"name":"x","type":"bridge"}`, Others, "x", ""},
		{"ours", "10-flannel.conflist", `{"name":"p","plugins":[{"type":"plexus","clusterNetwork":"/x"}]}`, Plexus, "p", ""},
		{"ours, second in the list", "a.conflist", `{"name":"p","plugins":[{"type":"bridge"},{"type":"plexus"}]}`, Plexus, "p", ""},
		{"ours, a single one", "a.conf", `{"name":"p","type":"plexus"}`, Plexus, "p", ""},
		{"ours, by a key in other letters", "a.conf", `{"name":"p","Type":"plexus"}`, Plexus, "p", ""},
		{"named as ours, but not", "00-plexus.conflist", bridgeList, Others, "cbr0", ""},
		{"called plexus", "a.conf", `{"name":"plexus","type":"bridge"}`, Others, "plexus", ""},
		{"of Multus", "a.conf", `{"name":"m","type":"multus","delegates":[]}`, Multus, "m", ""},
		{"of Multus, thick", "a.conf", `{"name":"m","type":"multus-shim"}`, Multus, "m", ""},
		{"of Multus, a list", "a.conflist", `{"name":"m","plugins":[{"type":"multus"}]}`, Multus, "m", ""},
		{"of Multus, and broken", "a.conf", `{"type":"multus","name":7}`, Multus, "", "name"},
		{"nothing", "a.conf", ``, Others, "", "end of JSON"},
		{"half a file", "a.conflist", bridgeList[:40], Others, "", "end of JSON"},
		{"no JSON", "a.conf", "type: bridge", Others, "", "invalid character"},
		{"an array", "a.conflist", `[]`, Others, "", "cannot unmarshal array"},
		{"without a name", "a.conf", `{"type":"bridge"}`, Others, "", `name: "" is not the name of a network`},
		{"a list without a name", "a.conflist", `{"plugins":[{"type":"bridge"}]}`, Others, "", "no name"},
		{"a name that is a path", "a.conflist", `{"name":"../x","plugins":[{"type":"bridge"}]}`, Others, "", `name: "../x" is not the name`},
		{"without a type", "a.conf", `{"name":"x"}`, Others, "", "missing 'type'"},
		{"a list that is named .conf", "a.conf", bridgeList, Others, "", "a list belongs into a .conflist file"},
		{"a single one that is named .conflist", "a.conflist", `{"name":"x","type":"bridge"}`, Others, "", "a single configuration belongs into a .conf file"},
		{"an empty list", "a.conflist", `{"name":"x","plugins":[]}`, Others, "", "no plugins in list"},
		{"a plugin without a type", "a.conflist", `{"name":"x","plugins":[{}]}`, Others, "", "missing 'type'"},
		{"a plugin by its path", "a.conf", `{"name":"x","type":"/bin/sh"}`, Others, "", "must be a plain name"},
		{"two keys of one field", "a.conf", `{"name":"x","type":"bridge","TYPE":"bridge"}`, Others, "", "stands beside"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := Parse(filepath.Join(t.TempDir(), tc.file), []byte(tc.data))
			check.Equal(t, "file", file.Name, tc.file)
			check.Equal(t, "owner", file.Owner, tc.owner)
			if tc.network == "" {
				check.Error(t, file.Fault, tc.fault)
				return
			}
			check.Must(t, file.Fault)
			check.Equal(t, "network", file.Conf.Name, tc.network)
		})
	}
}

// TestParseWithAFolder: libcni adds the plugins of the folder of the list's name.
func TestParseWithAFolder(t *testing.T) {
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
			file := Parse(filepath.Join(dir, "a.conflist"), []byte(tc.data))
			check.Must(t, file.Fault)
			check.Equal(t, "executables", Executables(file.Conf), tc.want)
		})
	}
	check.Must(t, os.WriteFile(filepath.Join(dir, "net", "2.conf"), []byte(`{"type":"plexus"}`), 0o600))
	check.Equal(t, "owner", Parse(filepath.Join(dir, "a.conflist"), []byte(`{"name":"net"}`)).Owner, Plexus)
	check.Must(t, os.WriteFile(filepath.Join(dir, "net", "3.conf"), []byte(`{`), 0o600))
	check.Error(t, Parse(filepath.Join(dir, "a.conflist"), []byte(`{"name":"net"}`)).Fault, "error parsing configuration")
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
			file := Parse("/nowhere/a.conf", []byte(tc.data))
			check.Must(t, file.Fault)
			check.Equal(t, "executables", Executables(file.Conf), tc.want)
		})
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"20-a.conf", "10-b.conflist", "10-a.json", "100.conflist", "x.cilium_bak", "y.conflist.bak", ".hidden.plexus-tmp", "README"} {
		check.Must(t, os.WriteFile(path(name), []byte(bridgeList), 0o600))
	}
	check.Must(t, os.Mkdir(path("30-folder.conf"), 0o755))
	check.Must(t, os.Symlink("10-b.conflist", path("40-link.conflist")))
	check.Must(t, os.Symlink("nowhere", path("41-link.conflist")))
	check.Must(t, unix.Mkfifo(path("42-fifo.conflist"), 0o600))
	check.Must(t, os.WriteFile(path("43-big.conflist"), make([]byte, maxSize+1), 0o600))
	files, err := Read(dir)
	check.Must(t, err)
	got := []string{}
	for _, file := range files {
		fault := ""
		if file.Fault != nil {
			fault = file.Fault.Error()
		}
		got = append(got, file.Name+" "+strings.ReplaceAll(fault, dir, ""))
	}
	check.Equal(t, "files", got, []string{
		"10-a.json error parsing configuration: missing 'type' (a list belongs into a .conflist file)", "10-b.conflist ", "100.conflist ",
		"20-a.conf error parsing configuration: missing 'type' (a list belongs into a .conflist file)",
		"40-link.conflist ", "41-link.conflist cannot be read: it is a link to nowhere, which is not to be seen here: mount it too, by the same path",
		"42-fifo.conflist is not a regular file", "43-big.conflist has 1048577 bytes, more than a configuration may have (1048576)",
	})
	files, err = Read(filepath.Join(dir, "nowhere"))
	if err != nil || len(files) != 0 {
		t.Errorf("a folder that is not there has %v, error %v", files, err)
	}
	_, err = Read(path("README"))
	check.Error(t, err, "read the folder of configurations", "README")
}

func FuzzParse(f *testing.F) {
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
		file := Parse(filepath.Join(dir, "f."+strings.ReplaceAll(extension, "/", "")), data)
		if (file.Conf == nil) == (file.Fault == nil) {
			t.Fatalf("both or neither of a configuration and a fault: %v, %v", file.Conf, file.Fault)
		}
		if file.Conf == nil {
			return
		}
		if len(Executables(file.Conf)) == 0 || CheckName(file.Conf.Name) != nil {
			t.Errorf("a configuration that nobody can run: %q, %q", file.Conf.Name, Executables(file.Conf))
		}
		for _, name := range Executables(file.Conf) {
			if strings.ContainsRune(name, '/') {
				t.Errorf("the executable %q is a path", name)
			}
		}
	})
}
