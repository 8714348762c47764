package window

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/collect"
	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

// askVar has what the process that is started on a node is to ask there.
const askVar = "PLEXUS_E2E_ASK"

type asked struct {
	Options   collect.Options
	Questions []inspect.Question
}

// The tests' own executable asks the routing on a node: collect finds the node's namespaces by its
// own process, which has to be one of the node.
func init() {
	text := os.Getenv(askVar)
	if text == "" {
		return
	}
	var all asked
	err := json.Unmarshal([]byte(text), &all)
	var answers []inspect.Answer
	if err == nil {
		answers, err = collect.Answers(all.Options, all.Questions)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(answers)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// answers asks the node's routing.
func (n *Node) answers(questions ...inspect.Question) (answers []inspect.Answer, err error) {
	options := collect.Options{StateDir: n.StateDir, NetNSDirs: collect.DefaultNetNSDirs, Sysfs: sriov.DefaultSysfs}
	if n.StateDir == "" {
		options.StateDir = types.DefaultCNIDir + "/plexus"
	}
	if n.NetNSDir != "" {
		options.NetNSDirs = []string{n.NetNSDir}
	}
	text, err := json.Marshal(asked{options, questions})
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), askVar+"="+string(text))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := n.Do(cmd.Run); err != nil {
		return nil, fmt.Errorf("ask the routing of %s: %w: %s", n.Name, err, &stderr)
	}
	return answers, json.Unmarshal(stdout.Bytes(), &answers)
}
