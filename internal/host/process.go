package host

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is what /proc/PID/stat says about a process.
type Process struct {
	ID     int
	Parent int
	Group  int
	// Start is when it started, in ticks since the boot. It distinguishes a process from a
	// later one of the same number.
	Start uint64
	Ended bool // its parent has not waited for it yet
}

// ticksPerSecond is the unit of times in /proc, USER_HZ.
const ticksPerSecond = 100

// Ticks gives the present time as Process.Start has it.
func Ticks() uint64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0
	}
	return uint64(now.Nano()) / (1e9 / ticksPerSecond)
}

// ProcessOf reads one process, and reports whether there is one of that number.
func ProcessOf(id int) (Process, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return Process{}, false
	}
	// The command, in parentheses, may contain anything; the rest does not.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 {
		return Process{}, false
	}
	p := Process{ID: id, Ended: fields[0] == "Z" || fields[0] == "X"}
	p.Parent, _ = strconv.Atoi(fields[1])
	p.Group, _ = strconv.Atoi(fields[2])
	p.Start, err = strconv.ParseUint(fields[19], 10, 64)
	return p, err == nil
}

// Processes reads all processes. What begins or ends meanwhile may be missing.
func Processes() []Process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var all []Process
	for _, name := range names {
		id, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, exists := ProcessOf(id); exists {
			all = append(all, p)
		}
	}
	return all
}

// Trees gives the processes that match, with everything below them, without those that
// have ended.
func Trees(all []Process, match func(Process) bool) []Process {
	children := map[int][]Process{}
	var next []Process
	for _, p := range all {
		children[p.Parent] = append(children[p.Parent], p)
		if match(p) {
			next = append(next, p)
		}
	}
	seen := map[int]bool{}
	var found []Process
	for len(next) > 0 {
		p := next[0]
		next = next[1:]
		if seen[p.ID] {
			continue
		}
		seen[p.ID] = true
		next = append(next, children[p.ID]...)
		if !p.Ended {
			found = append(found, p)
		}
	}
	return found
}

// Getenv gives a variable of the environment that a process was started with, "" if it
// has none or there is no such process.
func (p Process) Getenv(name string) string {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.ID))
	if err != nil {
		return ""
	}
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if value, ok := bytes.CutPrefix(variable, []byte(name+"=")); ok {
			return string(value)
		}
	}
	return ""
}

// Kill ends the process, and never another that has its number by now.
func (p Process) Kill() {
	fd, err := unix.PidfdOpen(p.ID, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }()
	if now, exists := ProcessOf(p.ID); exists && now.Start == p.Start {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}
