package node

import (
	"context"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// Runtime is a container runtime of the node, which calls by libcni.
type Runtime struct {
	node *Node

	ConfDir  string // it uses the first configuration in it
	BinDir   string
	CacheDir string // libcni's
}

// Runtime makes the folders of a runtime, with links to executables in BinDir.
func (n *Node) Runtime(cacheDir string, executables ...string) *Runtime {
	n.t.Helper()
	r := &Runtime{node: n, ConfDir: n.Path("runtime", "net.d"), BinDir: n.Path("runtime", "bin"), CacheDir: cacheDir}
	for _, dir := range []string{r.ConfDir, r.BinDir} {
		check.Must(n.t, os.MkdirAll(dir, 0o755))
	}
	for _, executable := range executables {
		check.Must(n.t, os.Symlink(executable, filepath.Join(r.BinDir, filepath.Base(executable))))
	}
	return r
}

// Plugins gives the paths of reference plugins.
func (n *Node) Plugins(names ...string) (paths []string) {
	for _, name := range names {
		paths = append(paths, filepath.Join(n.CNIBin, name))
	}
	return paths
}

// List gives the configuration that the runtime uses.
func (r *Runtime) List() *libcni.NetworkConfigList {
	r.node.t.Helper()
	files, err := libcni.ConfFiles(r.ConfDir, []string{".conf", ".conflist", ".json"})
	check.Must(r.node.t, err)
	list, err := libcni.ConfListFromFile(files[0])
	check.Must(r.node.t, err)
	return list
}

// call makes a call on the host side.
func (r *Runtime) call(verb func(ctx context.Context, cni *libcni.CNIConfig, list *libcni.NetworkConfigList) error) (err error) {
	r.node.t.Helper()
	list := r.List()
	r.node.Do(func() error {
		err = verb(context.Background(), libcni.NewCNIConfigWithCacheDir([]string{r.BinDir}, r.CacheDir, nil), list)
		return nil
	})
	return err
}

// Add attaches a sandbox.
func (r *Runtime) Add(conf *libcni.RuntimeConf) (result *current.Result, err error) {
	r.node.t.Helper()
	err = r.call(func(ctx context.Context, cni *libcni.CNIConfig, list *libcni.NetworkConfigList) error {
		var answer cnitypes.Result
		if answer, err = cni.AddNetworkList(ctx, list, conf); err == nil {
			result, err = current.NewResultFromResult(answer)
		}
		return err
	})
	return result, err
}

// Check checks a sandbox.
func (r *Runtime) Check(conf *libcni.RuntimeConf) error {
	r.node.t.Helper()
	return r.call(func(ctx context.Context, cni *libcni.CNIConfig, list *libcni.NetworkConfigList) error {
		return cni.CheckNetworkList(ctx, list, conf)
	})
}

// Del detaches a sandbox.
func (r *Runtime) Del(conf *libcni.RuntimeConf) error {
	r.node.t.Helper()
	return r.call(func(ctx context.Context, cni *libcni.CNIConfig, list *libcni.NetworkConfigList) error {
		return cni.DelNetworkList(ctx, list, conf)
	})
}

// RuntimeConf gives what a runtime tells libcni of the sandbox.
func (s *Sandbox) RuntimeConf(ifName string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{
		ContainerID: s.ID, NetNS: s.Path, IfName: ifName,
		Args: [][2]string{
			{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", s.Namespace}, {"K8S_POD_NAME", s.PodName}, {"K8S_POD_INFRA_CONTAINER_ID", s.ID},
		},
	}
}
