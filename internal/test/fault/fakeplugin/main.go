// Command fakeplugin is a CNI plugin for tests: it holds a resource, a file, from ADD
// to DEL, and misbehaves as its configuration tells it to.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// config is what the plugin is told. Each of Do's steps, for the verb of the call, is
// carried out in order:
//
//	work       take the resource, or give it back
//	answer     print a result
//	kill       SIGKILL the caller
//	fail       print a CNI error and exit 1
//	fail-if F  the same if the file F exists
//	garbage    print something else and exit 0
//	spawn F    leave a child that holds the pipes and never ends, and write its number to F
//	daemon F   the same in a session of its own, without the pipes, with a clean environment
//	if F STEP  carry out the step if the file F exists
//	touch F    make the file F
//	hang       never end
//
// Without steps it is a well-behaved plugin: work, answer.
type config struct {
	CNIVersion string              `json:"cniVersion"`
	Resources  string              `json:"resources"` // folder
	Do         map[string][]string `json:"do"`
}

func main() {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail(err.Error())
	}
	var c config
	if err := json.Unmarshal(input, &c); err != nil {
		fail(err.Error())
	}
	command := os.Getenv("CNI_COMMAND")
	steps := c.Do[command]
	if steps == nil {
		steps = []string{"work", "answer"}
	}
	for _, step := range steps {
		verb, argument, _ := strings.Cut(step, " ")
		c.do(command, verb, argument)
	}
}

func (c *config) do(command, verb, argument string) {
	switch verb {
	case "work":
		c.work(command)
	case "answer":
		if command == "ADD" {
			fmt.Printf(`{"cniVersion":%q}`, c.CNIVersion)
		}
	case "kill":
		_ = unix.Kill(os.Getppid(), unix.SIGKILL)
	case "fail":
		fail("told to fail")
	case "fail-if":
		if _, err := os.Stat(argument); err == nil {
			fail("told to fail as long as " + argument + " exists")
		}
	case "garbage":
		fmt.Print("this is no JSON")
	case "spawn":
		spawn(argument, os.Stdout)
	case "daemon":
		spawn(argument, nil)
	case "if":
		file, step, _ := strings.Cut(argument, " ")
		if _, err := os.Stat(file); err == nil {
			verb, argument, _ := strings.Cut(step, " ")
			c.do(command, verb, argument)
		}
	case "touch":
		if err := os.WriteFile(argument, nil, 0o600); err != nil {
			fail(err.Error())
		}
	case "hang":
		time.Sleep(time.Hour)
	default:
		fail("unknown step " + verb)
	}
}

func (c *config) work(command string) {
	path := filepath.Join(c.Resources, os.Getenv("CNI_CONTAINERID")+"-"+os.Getenv("CNI_IFNAME"))
	switch command {
	case "ADD":
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			fail(err.Error())
		}
	case "DEL":
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			fail(err.Error())
		}
	}
}

// spawn leaves a child that has this output, a daemon if that is none, and writes its number
// to a file. Like every child it inherits the container's lock.
func spawn(pidFile string, output *os.File) {
	child := exec.Command("sleep", "3600")
	if output != nil {
		child.Stdout, child.Stderr = output, output
	} else {
		child.Env = []string{}
		child.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	}
	if err := child.Start(); err != nil {
		fail(err.Error())
	}
	if err := os.WriteFile(pidFile, fmt.Append(nil, child.Process.Pid), 0o600); err != nil {
		fail(err.Error())
	}
}

func fail(message string) {
	fmt.Printf(`{"cniVersion":"1.0.0","code":111,"msg":%q}`, message)
	fmt.Fprintln(os.Stderr, "fakeplugin: something for the log")
	os.Exit(1)
}
