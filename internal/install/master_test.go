package install

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// Configurations by whose they are, for tables of folders.
const (
	ourList     = `{"name":"plexus","plugins":[{"type":"plexus","clusterNetwork":"/x"}]}`
	multusConf  = `{"name":"m","type":"multus","delegates":[]}`
	single      = `{"name":"single","type":"bridge"}`
	missingConf = `{"name":"late","type":"not-there"}`

	podmanList   = `{"name":"podman","plugins":[{"type":"bridge","bridge":"cni-podman0","isGateway":true},{"type":"portmap"}]}`
	podmanSecond = `{"name":"mine","plugins":[{"type":"bridge","bridge":"cni-podman1"}]}`
	crioConf     = `{"name":"crio","type":"bridge","bridge":"cni0","isGateway":true}`
	crioList     = `{"name":"crio","plugins":[{"type":"bridge","bridge":"cni0"}]}`
	nerdctlList  = `{"name":"bridge","nerdctlID":"1","plugins":[{"type":"bridge","bridge":"nerdctl0"}]}`
	loopbackConf = `{"name":"lo","type":"loopback"}`
	loopbackList = `{"name":"lo","plugins":[{"type":"loopback"}]}`
)

func TestFindMaster(t *testing.T) {
	for _, tc := range []struct {
		name   string
		master string
		files  map[string]string
		want   string   // the file, "" if there is none
		words  []string // of the error, if any
	}{
		{"the only one", "", map[string]string{"10-a.conflist": bridgeList}, "10-a.conflist", nil},
		{"the first by name", "", map[string]string{"20-a.conflist": bridgeList, "10-b.conf": single, "9-c.conf": single}, "10-b.conf", nil},
		{"past ours", "", map[string]string{"00-plexus.conflist": ourList, "10-a.conflist": bridgeList}, "10-a.conflist", nil},
		{"past ours under another name", "", map[string]string{"05-cilium.conflist": ourList, "10-a.conflist": bridgeList}, "10-a.conflist", nil},
		{"past Multus", "", map[string]string{"00-multus.conf": multusConf, "10-a.conflist": bridgeList}, "10-a.conflist", nil},
		{"past what is broken", "", map[string]string{"05-a.conf": `{"name":`, "06-b.conflist": "", "10-a.conflist": bridgeList}, "10-a.conflist", nil},
		{"named as Multus's, but another's", "", map[string]string{"00-multus.conf": single, "10-a.conflist": bridgeList}, "00-multus.conf", nil},
		{"put aside by Cilium", "", map[string]string{"05-a.conflist.cilium_bak": bridgeList, "10-a.conf": single}, "10-a.conf", nil},
		{"the first, though it is not ready", "", map[string]string{"05-a.conf": missingConf, "10-a.conflist": bridgeList}, "05-a.conf", []string{"05-a.conf names executables", "not-there"}},
		{"past the bridges of container tools", "", map[string]string{
			"01-a.conflist": podmanList, "02-b.conflist": podmanSecond, "03-c.conf": crioConf, "04-d.conflist": crioList, "05-e.conflist": nerdctlList, "10-z.conf": single,
		}, "10-z.conf", nil},
		{"past a lone loopback", "", map[string]string{"01-a.conf": loopbackConf, "02-b.conflist": loopbackList, "10-z.conf": single}, "10-z.conf", nil},
		{"a loopback among others", "", map[string]string{"01-a.conflist": `{"name":"a","plugins":[{"type":"loopback"},{"type":"bridge"}]}`}, "01-a.conflist", []string{"01-a.conflist names executables", "loopback"}},
		{"another plugin's network of such a name", "", map[string]string{"01-a.conf": `{"name":"crio","type":"portmap"}`}, "01-a.conf", nil},
		{"another network's bridge of the name cni0", "", map[string]string{"01-a.conf": `{"name":"cbr0","type":"bridge","bridge":"cni0"}`}, "01-a.conf", nil},
		{"none but those", "", map[string]string{"87-podman.conflist": podmanList, "99-lo.conf": loopbackConf}, "", []string{
			"87-podman.conflist: it is the bridge that podman has", "99-lo.conf: it has nothing but loopback: name it by --master",
		}},
		{"one of those by file", "03-c.conf", map[string]string{"03-c.conf": crioConf, "10-z.conf": single}, "03-c.conf", nil},
		{"one of those by name", "podman", map[string]string{"87-podman.conflist": podmanList, "10-z.conf": single}, "87-podman.conflist", nil},
		{"none", "", nil, "", []string{"no configuration of a default network", "net.d"}},
		{"none but ours", "", map[string]string{"00-plexus.conflist": ourList, "01-p.conflist": ourList, "02-m.conf": multusConf, "03-x.conf": "x"}, "", []string{
			"01-p.conflist: it is Plexus's own", "02-m.conf: it is Multus's own", "03-x.conf: error parsing",
		}},
		{"by file", "20-a.conflist", map[string]string{"10-b.conf": single, "20-a.conflist": bridgeList}, "20-a.conflist", nil},
		{"by a file that is not there", "20-a.conflist", map[string]string{"10-b.conf": single}, "", []string{`no configuration "20-a.conflist" (--master)`}},
		{"by a file of Multus", "20-a.conf", map[string]string{"10-b.conf": single, "20-a.conf": multusConf}, "", []string{"20-a.conf: it is Multus's own"}},
		{"by a file that is broken", "20-a.conf", map[string]string{"10-b.conf": single, "20-a.conf": "{"}, "", []string{"20-a.conf: error parsing"}},
		{"by name", "cbr0", map[string]string{"10-b.conf": single, "20-a.conflist": bridgeList}, "20-a.conflist", nil},
		{"by a name that nobody has", "cbr1", map[string]string{"10-b.conf": single, "20-a.conflist": bridgeList}, "", []string{`no configuration "cbr1" (--master)`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newTestNode(t)
			n.options.Master = tc.master
			for name, content := range tc.files {
				n.conf(name, content)
			}
			master, err := n.installer().findMaster()
			got := ""
			if master != nil {
				got = master.Name
			}
			check.Equal(t, "master", got, tc.want)
			if tc.words == nil {
				check.Must(t, err)
				return
			}
			check.Error(t, err, tc.words...)
			if !errors.Is(err, errNotYet) {
				t.Errorf("it is no matter of time: %v", err)
			}
		})
	}
}

// TestFindMasterIsALink: to what is not mounted, which the runtime sees and we do not.
func TestFindMasterIsALink(t *testing.T) {
	n := newTestNode(t)
	n.conf("20-a.conflist", bridgeList)
	for _, target := range []string{"/not/there/10-canal.conflist", "elsewhere/10-canal.conflist"} {
		n.linkTo(target, n.confPath("10-canal.conflist"))
		_, err := n.installer().findMaster()
		check.Error(t, err, "10-canal.conflist: cannot be read: it is a link to "+target+", which is not to be seen here: mount it too")
		if !errors.Is(err, errNotYet) {
			t.Errorf("it is no matter of time: %v", err)
		}
	}
	n.options.Master = "20-a.conflist"
	master, err := n.installer().findMaster()
	check.Must(t, err)
	check.Equal(t, "master that is named", master.Name, "20-a.conflist")
	check.Must(t, os.MkdirAll(n.confPath("elsewhere"), 0o755))
	check.Must(t, os.WriteFile(n.confPath("elsewhere/10-canal.conflist"), []byte(bridgeList), 0o600))
	n.options.Master = ""
	master, err = n.installer().findMaster()
	check.Must(t, err)
	check.Equal(t, "master that is to be seen", master.Name, "10-canal.conflist")
}

// TestInstallIntoALink: the folder itself is a link to what is not mounted.
func TestInstallIntoALink(t *testing.T) {
	for _, folder := range []func(o *Options) string{func(o *Options) string { return o.ConfDir }, func(o *Options) string { return o.BinDir }} {
		n := newTestNode(t)
		dir := folder(&n.options)
		check.Must(t, os.RemoveAll(dir))
		n.linkTo("/not/there", dir)
		check.Error(t, n.installer().Install(context.Background()), dir+" is a link to /not/there, which is not to be seen here: mount it too")
	}
}

func TestFindMasterWarnsOfABridgeOfContainers(t *testing.T) {
	n := newTestNode(t)
	n.conf("05-crio.conf", crioConf)
	n.conf("10-a.conflist", bridgeList)
	_, err := n.installer().findMaster()
	check.Must(t, err)
	check.Equal(t, "warnings", countLines(n.logs.String(), "level=WARN"), 1)
	check.Contains(t, "log", n.logs.String(), "05-crio.conf", "the bridge that CRI-O has for containers of this node")
}

func TestFindMasterSaysOnceWhatIsPassedOver(t *testing.T) {
	n := newTestNode(t)
	n.conf("05-a.conf", "{")
	n.conf("10-a.conflist", bridgeList)
	i := n.installer()
	for range 3 {
		_, err := i.findMaster()
		check.Must(t, err)
	}
	check.Equal(t, "lines", countLines(n.logs.String(), "05-a.conf"), 1)
	n.conf("05-a.conf", "no JSON")
	_, err := i.findMaster()
	check.Must(t, err)
	check.Equal(t, "lines", countLines(n.logs.String(), "05-a.conf"), 2)
}

func TestReady(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(n *testNode)
		words  []string // nil if it is ready
	}{
		{"all is there", func(*testNode) {}, nil},
		{"no executable of IPAM", func(n *testNode) { check.Must(n.t, os.Remove(n.bin("host-local"))) }, []string{"not in", "yet: host-local"}},
		{"one that is a folder", func(n *testNode) {
			check.Must(n.t, os.Remove(n.bin("bridge")))
			check.Must(n.t, os.Mkdir(n.bin("bridge"), 0o755))
		}, []string{"yet: bridge"}},
		{"one that is no executable", func(n *testNode) { check.Must(n.t, os.Chmod(n.bin("portmap"), 0o644)) }, []string{"yet: portmap"}},
		{"no readiness file", func(n *testNode) { n.options.ReadinessFile = n.bin("ready") }, []string{"--readiness-file", "ready: no such file"}},
		{"a readiness file", func(n *testNode) { n.options.ReadinessFile = n.bin("bridge") }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newTestNode(t)
			n.conf("10-a.conflist", bridgeList)
			tc.change(n)
			_, err := n.installer().findMaster()
			if tc.words == nil {
				check.Must(t, err)
				return
			}
			check.Error(t, err, tc.words...)
		})
	}
}

// background runs an install until the test ends, and gives where its error comes.
func (n *testNode) background(run func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	n.t.Cleanup(cancel)
	return func() error { cancel(); return <-done }
}

// TestInstallWaits goes through everything that an install waits for, one after the
// other, with nothing but inotify to tell it.
func TestInstallWaits(t *testing.T) {
	n := newTestNode(t)
	ready := filepath.Join(t.TempDir(), "ready")
	n.options.ReadinessFile = ready
	check.Must(t, os.Remove(n.bin("portmap")))
	i := n.installer()
	i.pace.recheck = time.Hour
	done := make(chan error, 1)
	go func() { done <- i.Install(context.Background()) }()
	n.eventually("it waits for a configuration", n.logged("no configuration of a default network"))
	n.conf("10-a.conflist", bridgeList)
	n.eventually("it waits for an executable", n.logged("not in "+n.options.BinDir+" yet: portmap"))
	n.executable(n.bin("portmap"), "")
	n.eventually("it waits for the file", n.logged("--readiness-file"))
	if exists(n.ours()) {
		t.Error("the configuration is there before the default network is")
	}
	check.Must(t, os.WriteFile(ready, nil, 0o600))
	check.Must(t, <-done)
	check.Contains(t, "configuration", read(t, n.ours()), "10-a.conflist", `"readinessindicatorfile": "`+ready)
}

// TestInstallWaitsWithoutInotify: what is not heard of is looked at.
func TestInstallWaitsWithoutInotify(t *testing.T) {
	n := newTestNode(t)
	n.options.ReadinessFile = filepath.Join(t.TempDir(), "later", "ready")
	n.conf("10-a.conflist", bridgeList)
	i := n.installer()
	done := make(chan error, 1)
	go func() { done <- i.Install(context.Background()) }()
	n.eventually("it waits for the file", n.logged("--readiness-file"))
	check.Must(t, os.Mkdir(filepath.Dir(n.options.ReadinessFile), 0o755))
	check.Must(t, os.WriteFile(n.options.ReadinessFile, nil, 0o600))
	check.Must(t, <-done)
}

func TestInstallGivesUp(t *testing.T) {
	n := newTestNode(t)
	n.options.Timeout = time.Millisecond
	check.Error(t, n.installer().Install(context.Background()), "--timeout: gave up after 1ms", "no configuration of a default network")
	n.options.Timeout = 0
	stop := n.background(n.installer().Install)
	n.eventually("it waits", n.logged("waiting for the default network"))
	check.Error(t, stop(), "interrupted", "no configuration of a default network")
	check.Equal(t, "files", n.files(), []string{"bin/bridge", "bin/host-local", "bin/plexus", "bin/plexus-once", "bin/portmap"})
}

func TestBackoff(t *testing.T) {
	b := backoff{first: time.Second, longest: 5 * time.Second}
	now := time.Unix(1000, 0)
	check.Equal(t, "before the first time", b.remaining(now), 0)
	for _, want := range []time.Duration{1, 2, 4, 5, 5} {
		b.strike(now)
		check.Equal(t, "pause", b.remaining(now), want*time.Second)
		now = now.Add(want * time.Second)
		check.Equal(t, "after the pause", b.remaining(now), 0)
	}
	now = now.Add(time.Hour)
	b.strike(now)
	check.Equal(t, "after a long time of peace", b.remaining(now), time.Second)
}

func TestReminder(t *testing.T) {
	r := reminder{every: time.Minute}
	start := time.Unix(1000, 0)
	for _, tc := range []struct {
		text  string
		after time.Duration
		want  bool
	}{{"a", 0, true}, {"a", 59 * time.Second, false}, {"a", time.Minute, true}, {"b", time.Minute, true}, {"b", 2 * time.Minute, true}} {
		check.Equal(t, tc.text+" after "+tc.after.String(), r.due(tc.text, start.Add(tc.after)), tc.want)
	}
}
