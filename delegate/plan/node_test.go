package plan

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// farNode is a node whose files are not those of this machine.
type farNode struct{ files fstest.MapFS }

func (n farNode) at(path string) string { return strings.TrimPrefix(path, "/") }

func (n farNode) Stat(path string) (fs.FileInfo, error)      { return n.files.Stat(n.at(path)) }
func (n farNode) ReadDir(path string) ([]fs.DirEntry, error) { return n.files.ReadDir(n.at(path)) }
func (n farNode) ReadFile(path string) ([]byte, error)       { return n.files.ReadFile(n.at(path)) }
func (n farNode) CheckPlugin(name string) error {
	if name == "nosuch" {
		return errors.New(`plugin "nosuch" is not on that node`)
	}
	return nil
}

// Whatever the configuration leads to is read from the node, and nothing from here.
func TestPlanForAnotherNode(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	node := farNode{fstest.MapFS{
		"far/net.d/10-main.conflist":    file(`{"cniVersion":"1.0.0","name":"main","plugins":[{"type":"far-bridge"}]}`),
		"far/net.d/main/tune.conf":      file(`{"type":"far-tuning"}`),
		"far/net.d/aux/1.conf":          file(`{"type":"far-aux"}`),
		"far/net.d/20-storage.conflist": file(`{"cniVersion":"1.0.0","name":"storage","plugins":[{"type":"far-macvlan"}]}`),
		"far/net.d/30-old.conf":         file(`{"cniVersion":"1.0.0","name":"old","type":"far-ipvlan"}`),
	}}
	config, _, err := types.ParseConfig([]byte(`{"cniVersion":"1.1.0","name":"outer","type":"plexus","confDir":"/far/net.d",
		"clusterNetwork":"/far/net.d","auxiliaryCNIChainName":"aux","defaultNetworks":["storage","old"]}`))
	if err != nil {
		t.Fatal(err)
	}
	planner := &Planner{Config: config, Node: node}
	facts := &types.Facts{Pod: types.Pod{Namespace: "default", Name: "web"}, Networks: missing("kube-system/storage", "kube-system/old")}
	made, err := planner.Plan(t.Context(), facts, types.Sandbox{ContainerID: "c1", NetNS: "/n", IfName: "eth0"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range made.Attachments {
		conf, err := types.ParseNetConf([]byte(a.Config), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, plugin := range conf.Plugins {
			got = append(got, a.Interface+" "+plugin.Type)
		}
	}
	want := []string{"eth0 far-bridge", "eth0 far-tuning", "net0 far-macvlan", "net1 far-ipvlan", "net2 far-aux"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	conf, err := planner.FromFiles("old")
	if err != nil || conf == nil || conf.Plugins[0].Type != "far-ipvlan" {
		t.Errorf("FromFiles: %+v, %v", conf, err)
	}
	if conf, err = planner.FromFiles("/far/net.d/20-storage.conflist"); err != nil || conf.Name != "storage" {
		t.Errorf("FromFiles of a path: %+v, %v", conf, err)
	}
	if conf, err = planner.FromFiles("nobody's"); conf != nil || err != nil {
		t.Errorf("FromFiles of a name that no file has: %+v, %v", conf, err)
	}
}

func TestCheckExecutablesAsksTheNode(t *testing.T) {
	conf, err := types.ParseNetConf([]byte(`{"cniVersion":"1.0.0","name":"n","type":"bridge","ipam":{"type":"nosuch"}}`), "")
	if err != nil {
		t.Fatal(err)
	}
	err = (&Planner{Config: &types.Config{}, Node: farNode{}}).CheckExecutables(conf)
	if err == nil || !strings.Contains(err.Error(), `plugins[0].ipam.type: plugin "nosuch" is not on that node`) {
		t.Errorf("%v", err)
	}
}

// A folder that stands in the path twice, as binDir and in CNI_PATH, is named once.
func TestCheckPluginNamesAFolderOnce(t *testing.T) {
	for name, test := range map[string]struct {
		path []string
		want string
	}{
		"the same":        {[]string{"/opt/cni/bin", "/opt/cni/bin"}, `plugin "ghost" is not in "/opt/cni/bin"`},
		"another writing": {[]string{"/opt/cni/bin/", "/a", "/opt//cni/bin", "/a"}, `plugin "ghost" is not in "/opt/cni/bin", "/a"`},
		"none":            {nil, `plugin "ghost" is not in (none)`},
	} {
		t.Run(name, func(t *testing.T) {
			err := (&LocalNode{Path: test.path}).CheckPlugin("ghost")
			if err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
