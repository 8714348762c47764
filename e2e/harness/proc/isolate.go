package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

const isolated = "PLEXUS_E2E_ISOLATED"

// Isolate runs inside, which gives the exit status, in a second process of this executable with
// a network and a mount namespace of its own, so that nothing of the tests stays on the machine,
// and returns the status for os.Exit. Afterwards, also when the run is interrupted, the first
// process calls each of the functions after. Without root it calls inside at once: the tests say
// then what they need.
func Isolate(inside func() int, after ...func()) int {
	if os.Getuid() != 0 {
		return inside()
	}
	if os.Getenv(isolated) != "" {
		return insideNow(inside)
	}
	defer func() {
		for _, f := range after {
			f()
		}
	}()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, unix.SIGINT, unix.SIGTERM)
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), isolated+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if err := Lasting().Do(cmd.Start); err != nil {
		fmt.Fprintln(os.Stderr, "run the tests in namespaces of their own:", err)
		return 1
	}
	go func() {
		<-interrupted
		_ = cmd.Process.Kill()
	}()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "run the tests in namespaces of their own:", err)
		return 1
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	fmt.Fprintln(os.Stderr, "the tests were ended:", cmd.ProcessState)
	return 1
}

// insideNow makes the namespaces usable.
func insideNow(inside func() int) int {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		fmt.Fprintln(os.Stderr, "make the mounts private:", err)
		return 1
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "ip link set lo up: %v: %s\n", err, out)
		return 1
	}
	return inside()
}
