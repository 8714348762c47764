package main

import (
	"fmt"
	"os"
	"strings"
)

// memory is what a server of the node has resident, in bytes.
type memory struct {
	what              string
	pid               int
	idle, after, most int64
}

type memories []*memory

// idleMemory measures the servers before the bursts.
func (l *lab) idleMemory(scenarios []*scenario) (memories, error) {
	var all memories
	for _, sc := range scenarios {
		if sc.agent != nil && sc.count == burstNetworks {
			all = append(all, &memory{what: "plexus-agent", pid: sc.agent.cmd.Process.Pid})
		}
	}
	if l.daemon != nil {
		all = append(all, &memory{what: "multus-daemon", pid: l.daemon.PID()})
	}
	for _, m := range all {
		now, err := memoryOf(m.pid)
		if err != nil {
			return nil, err
		}
		m.idle = now["VmRSS"]
	}
	return all, nil
}

func (all memories) afterBursts() error {
	for _, m := range all {
		now, err := memoryOf(m.pid)
		if err != nil {
			return err
		}
		m.after, m.most = now["VmRSS"], now["VmHWM"]
	}
	return nil
}

func (all memories) rows() [][]string {
	rows := [][]string{{"resident, MB", "before the bursts", "after them", "at most"}}
	for _, m := range all {
		rows = append(rows, []string{m.what, mB(m.idle), mB(m.after), mB(m.most)})
	}
	return rows
}

// memoryOf gives what the kernel says of a process's memory, in bytes.
func memoryOf(pid int) (map[string]int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil, err
	}
	memory := map[string]int64{}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		var kilobytes int64
		if n, _ := fmt.Sscanf(value, "%d kB", &kilobytes); n == 1 {
			memory[key] = kilobytes << 10
		}
	}
	return memory, nil
}
