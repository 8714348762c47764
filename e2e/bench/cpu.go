package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the step in which the kernel reports times of children in /proc: USER_HZ is 100 on every
// architecture that Go has.
const tick = 10 * time.Millisecond

// spent is processor time.
type spent struct {
	calls  time.Duration // of what runs for a call: plexus or Multus, plugins, and libcni in this process
	server time.Duration // of the agent or daemon itself
}

func (s spent) total() time.Duration { return s.calls + s.server }

// meter measures the processor time of a call, and of what goes on after its answer.
type meter struct {
	server int // the process of the agent or daemon; 0 if there is none
	began  spent
	own    time.Duration // of this process: at the start, then until the answer
}

func newMeter(server int) (*meter, error) {
	m := &meter{server: server}
	var err error
	m.began, err = m.now()
	m.own = ofOwn()
	return m, err
}

// answered ends what counts of this process: it goes on with work of the bench.
func (m *meter) answered() { m.own = ofOwn() - m.own }

// read gives what was spent since the start.
func (m *meter) read() (spent, error) {
	now, err := m.now()
	return spent{calls: now.calls - m.began.calls + m.own, server: now.server - m.began.server}, err
}

func (m *meter) now() (s spent, err error) {
	s.calls = ofChildren()
	if m.server == 0 {
		return s, nil
	}
	children, err := ofServersChildren(m.server)
	if err != nil {
		return s, err
	}
	s.calls += children
	s.server, err = ofProcess(m.server)
	return s, err
}

// ofProcess is the processor time of all threads that a process has and had. /proc/PID/schedstat
// has it of one thread only, and /proc/PID/stat in ticks.
func ofProcess(pid int) (time.Duration, error) {
	const allThreads = 2 // CPUCLOCK_SCHED of the kernel, in the identity of a process's clock
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|allThreads), &t); err != nil {
		return 0, fmt.Errorf("read the processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// ofServersChildren is the processor time of the plugins that a daemon has waited for.
func ofServersChildren(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return childTime(string(data))
}

// childTime gives cutime and cstime of a file /proc/PID/stat. The name of the process, in
// parentheses, may have anything in it.
func childTime(stat string) (time.Duration, error) {
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(fields) < 15 {
		return 0, fmt.Errorf("%q is not of /proc/PID/stat", stat)
	}
	var sum time.Duration
	for _, field := range fields[13:15] { // the 16th and the 17th of all
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not of /proc/PID/stat: %w", stat, err)
		}
		sum += time.Duration(ticks) * tick
	}
	return sum, nil
}

// ofChildren is the processor time of the processes that this one has waited for, and of theirs.
func ofChildren() time.Duration { return usageOf(unix.RUSAGE_CHILDREN) }

// ofOwn is that of this process: libcni runs in it, as in a runtime.
func ofOwn() time.Duration { return usageOf(unix.RUSAGE_SELF) }

func usageOf(who int) time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(who, &u) // fails for a bad argument alone
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
