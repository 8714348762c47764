package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// ip runs ip and gives what it printed.
func ip(args ...string) (string, error) {
	out, err := output(nil, nil, append([]string{"ip"}, args...))
	return string(out), err
}

// output runs a command and gives what it printed. What it says on stderr is the error.
//
// It has a process group of its own, so that Ctrl-C reaches the demo alone, which ends between
// two commands and removes what it made.
func output(stdin []byte, env, argv []string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if env != nil {
		cmd.Env = env
	}
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, err
}

// link is an interface as `ip -j link` shows it.
type link struct {
	Index  int    `json:"ifindex"`
	Name   string `json:"ifname"`
	Peer   int    `json:"link_index"` // the other end of a veth pair, the master of a macvlan
	Bridge string `json:"master"`
	MAC    string `json:"address"`
	MTU    int    `json:"mtu"`
}

// links gives the interfaces of a namespace, but for the loopback.
func links(namespace string) ([]link, error) {
	out, err := ip("-n", namespace, "-j", "link", "show")
	if err != nil {
		return nil, err
	}
	var all, found []link
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, fmt.Errorf("what ip shows of %s: %w", namespace, err)
	}
	for _, l := range all {
		if l.Name != "lo" {
			found = append(found, l)
		}
	}
	return found, nil
}

func linkOf(all []link, match func(link) bool) (link, bool) {
	for _, l := range all {
		if match(l) {
			return l, true
		}
	}
	return link{}, false
}

// writeJSON writes a file of the node.
func (n *node) writeJSON(name string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(n.path(name), append(data, '\n'), 0o600)
}
