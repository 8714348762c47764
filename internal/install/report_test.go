package install

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// reported gives what the agent would read of a node, nil if nothing.
func (n *testNode) reported() *types.NodeUse {
	data, err := os.ReadFile(types.NodeUseFile(n.options.Socket))
	if err != nil {
		return nil
	}
	use, err := types.ParseNodeUse(data)
	check.Must(n.t, err)
	return use
}

// withAgent makes the folder of the agent's socket.
func (n *testNode) withAgent() { check.Must(n.t, os.Mkdir(filepath.Dir(n.options.Socket), 0o700)) }

func TestFollowTellsTheAgent(t *testing.T) {
	n := newTestNode(t)
	n.withAgent()
	n.options.HostConfDir = "/etc/cni/net.d"
	stop := n.background(n.installer().Follow)
	n.eventually("it says what it waits for", func() bool {
		use := n.reported()
		return use != nil && use.Faults[types.UseDefaultNetwork] != ""
	})
	check.Contains(t, "while it waits", n.reported().Faults[types.UseDefaultNetwork], "plexus is not installed yet: ", "no configuration of a default network")
	n.conf("10-a.conflist", bridgeList)
	n.eventually("it says that all is well", func() bool {
		use := n.reported()
		return use.Network == "10-a.conflist" && use.Faults[types.UseConfiguration] == ""
	})
	use := n.reported()
	check.Equal(t, "file", use.File, "/etc/cni/net.d/"+n.options.ConfName)
	check.Equal(t, "reasons", len(use.Faults), 3)
	before := use.Checked
	n.eventually("it checks again", func() bool { return n.reported().Checked.After(before) })
	n.conf("00-aaa.conflist", bridgeList)
	n.eventually("it says that another file is first", func() bool { return n.reported().Faults[types.UseConfiguration] != "" })
	check.Contains(t, "fault", n.reported().Faults[types.UseConfiguration], "the runtime takes 00-aaa.conflist")
	check.Must(t, stop())
	if use := n.reported(); use != nil {
		t.Errorf("nothing follows, and the agent reads %v", use)
	}
}

// Where the report cannot be written, that is logged once, and the follower follows.
func TestFollowGoesOnWithoutTheAgent(t *testing.T) {
	for name, tc := range map[string]struct {
		harm func(n *testNode)
		log  string // "" if nothing is wrong
	}{
		"there is no agent":   {func(*testNode) {}, ""},
		"none is to be asked": {func(n *testNode) { n.options.Socket = "" }, ""},
		"a folder is in its place": {func(n *testNode) {
			n.withAgent()
			check.Must(n.t, os.MkdirAll(types.NodeUseFile(n.options.Socket)+"/x", 0o700))
		}, "tell the agent whether this node uses plexus"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newTestNode(t)
			n.conf("10-a.conflist", bridgeList)
			tc.harm(n)
			stop := n.background(n.installer().Follow)
			n.eventually("it follows", n.logged("following the default network"))
			check.Must(t, os.Remove(n.ours()))
			n.eventually("it puts the configuration back", n.around("10-a.conflist"))
			if tc.log != "" {
				n.eventually("it says so", n.logged(tc.log))
			}
			check.Must(t, stop())
			if got := countLines(n.logs.String(), "tell the agent"); got > 1 || tc.log == "" && got > 0 {
				t.Errorf("%d times in the log:\n%s", got, n.logs)
			}
		})
	}
}
