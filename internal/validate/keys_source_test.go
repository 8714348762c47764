package validate

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

var jsonTag = regexp.MustCompile("json:\"([^\",]+)")

// tagsIn gives the JSON keys of all structs in the sources of a folder and below it, in small letters.
func tagsIn(t *testing.T, dir string) []string {
	t.Helper()
	var tags []string
	check.Must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, found := range jsonTag.FindAllSubmatch(data, -1) {
			tags = append(tags, strings.ToLower(string(found[1])))
		}
		return err
	}))
	return tags
}

// nested are keys of structs inside the configuration, or of what the plugin writes.
var nested = strings.Fields(`host-device.- tuning.cni portmap.hostport portmap.containerport portmap.protocol portmap.hostip portmap.portmappings portmap.-
	bandwidth.bandwidth sbr.- bridge.cni bridge.minid bridge.maxid bridge.id host-local.ipranges host-local.ips host-local.cni host-local.- host-local.ip
	static.ips static.cni static.ip static.gateway static.address dhcp.option dhcp.value dhcp.fromarg dhcp.skipdefault`)

// The table of known keys is that of the structs of the reference plugins' sources.
func TestPluginKeysAreThoseOfTheSources(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/containernetworking/plugins").Output()
	check.Must(t, err)
	if len(out) < 2 {
		t.Fatal("the sources of the plugins are not in the module cache: run go mod download")
	}
	module := strings.TrimSpace(string(out))
	for _, group := range []struct {
		folders string
		keys    map[string][]string
	}{{"main,meta", pluginKeys}, {"ipam", ipamKeys}} {
		for kind, known := range group.keys {
			if kind == "plexus-sriov" || kind == "whereabouts" {
				continue
			}
			t.Run(kind, func(t *testing.T) {
				var tags []string
				for _, folder := range strings.Split(group.folders, ",") {
					if dir := filepath.Join(module, "plugins", folder, kind); exists(dir) {
						tags = append(tags, tagsIn(t, dir)...)
					}
				}
				for _, key := range known {
					if !slices.Contains(tags, strings.ToLower(key)) {
						t.Errorf("no struct of %s has the key %s", kind, key)
					}
				}
				for _, tag := range tags {
					isKnown := slices.ContainsFunc(slices.Concat(known, everyKey), func(key string) bool { return strings.EqualFold(key, tag) })
					if !isKnown && !slices.Contains(nested, kind+"."+tag) {
						t.Errorf("the table lacks the key %s of %s", tag, kind)
					}
				}
			})
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
