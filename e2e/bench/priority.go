package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const lowest = 19 // priority, as nice has it

// favour gives the processors to a case. With an agent no call waits for the API server, which on
// a node is not there at all: it gets what is left. Else it is waited for, and counts as much.
func (sc *scenario) favour() {
	nice := 0
	if sc.agent != nil {
		nice = lowest
	}
	comms, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, comm := range comms {
		name, err := os.ReadFile(comm)
		if err != nil {
			continue
		}
		if name := strings.TrimSpace(string(name)); name != "etcd" && name != "kube-apiserver" || !isChild(filepath.Dir(comm)) {
			continue
		}
		threads, _ := filepath.Glob(filepath.Dir(comm) + "/task/[0-9]*")
		for _, thread := range threads {
			if id, err := strconv.Atoi(filepath.Base(thread)); err == nil {
				_ = unix.Setpriority(unix.PRIO_PROCESS, id, nice) // one that has ended needs none
			}
		}
	}
}

// isChild tells whether a process, by its folder in /proc, is one of ours.
func isChild(proc string) bool {
	data, err := os.ReadFile(proc + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	var state string
	var parent int
	_, err = fmt.Sscan(rest, &state, &parent)
	return err == nil && parent == os.Getpid()
}
