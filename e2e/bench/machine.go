package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// figureRounds is how often each of the machine's figures is measured.
const figureRounds = 25

// machine is what figures of two machines differ by.
type machine struct {
	disk  []time.Duration // a record is made durable
	netns []time.Duration // a network namespace is made
}

// measureMachine measures what the machine itself takes.
func (l *lab) measureMachine() (m machine, err error) {
	if m.disk, err = l.measureDisk(); err != nil {
		return m, fmt.Errorf("write a record to disk: %w", err)
	}
	if m.netns, err = measureNetns(); err != nil {
		return m, fmt.Errorf("make a network namespace: %w", err)
	}
	return m, nil
}

// machineRows are the five figures; the start of a process is that of the least program.
func (r *report) machineRows() [][]string {
	var name unix.Utsname
	_ = unix.Uname(&name)
	return [][]string{
		{"machine", "figure"},
		{"cores", fmt.Sprintf("%d (%s)", runtime.NumCPU(), cpuModel())},
		{"kernel", "Linux " + unix.ByteSliceToString(name.Release[:])},
		{"disk: a record made durable, ms", hundredths(median(r.machine.disk))},
		{"process: start to end of a bare Go program, ms", hundredths(median(r.starts[0].times))},
		{"network namespace: made, ms", hundredths(median(r.machine.netns))},
	}
}

// measureDisk gives the time in which the disk makes a record durable, as the journal does it:
// write, sync, rename, sync of the folder.
func (l *lab) measureDisk() ([]time.Duration, error) {
	path := filepath.Join(l.dir, "record")
	content := make([]byte, 4<<10)
	var all []time.Duration
	for range figureRounds {
		began := time.Now()
		if err := durably(path, content); err != nil {
			return nil, err
		}
		all = append(all, time.Since(began))
	}
	return all, nil
}

func durably(path string, content []byte) error {
	file, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close(), os.Rename(path+".new", path)); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// measureNetns gives the time in which the kernel makes a network namespace.
func measureNetns() ([]time.Duration, error) {
	var all []time.Duration
	for range figureRounds {
		took, err := makeNetns()
		if err != nil {
			return nil, err
		}
		all = append(all, took)
	}
	return all, nil
}

// makeNetns makes a namespace, and leaves it. The thread must live on: the servers that it has
// started end with it.
func makeNetns() (took time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return 0, err
	}
	defer own.Close()
	began := time.Now()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return 0, err
	}
	took = time.Since(began)
	return took, unix.Setns(int(own.Fd()), unix.CLONE_NEWNET)
}

func cpuModel() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func load() string {
	data, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(data), " ")
	return first
}
