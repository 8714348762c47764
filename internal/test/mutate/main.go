// Command mutate answers the question "if I delete the line that keeps this promise, which
// test fails?" It applies the mutations of promises.txt, one at a time, to the build only
// (go build -overlay), and demands that the named test fails.
//
//	mutate [-run REGEXP]
//
// It runs in the module's folder. Tests named TestNetns* need what make test-netns sets up.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"time"
)

var errSurvived = errors.New("there are promises that no test keeps")

func main() {
	only := flag.String("run", "", "run the promises that match a regular expression, by text, file or test")
	flag.Parse()
	if err := run(*only, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(only string, out io.Writer) error {
	matches, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	list, err := parsePromises(promises)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(p promise) bool {
		return !matches.MatchString(p.says) && !matches.MatchString(p.file) && !matches.MatchString(p.test)
	})
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	return (&trial{root: root, work: work, out: out}).all(list)
}

// all tries every promise, once the tests are known to pass without a mutation.
func (t *trial) all(list []promise) error {
	begin := time.Now()
	if err := t.withoutMutation(list); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "the tests pass without a mutation (%s)\n", time.Since(begin).Round(time.Second))
	survived := 0
	for i := range list {
		p, begin := &list[i], time.Now()
		verdict, details := "held", ""
		if err := t.one(p); err != nil {
			verdict, details = "NOT HELD", fmt.Sprintf("\n%v", err)
			survived++
		}
		fmt.Fprintf(t.out, "%-8s %4.1f s  %s (%s: %s)%s\n", verdict, time.Since(begin).Seconds(), p.says, p.file, p.test, details)
	}
	fmt.Fprintf(t.out, "%d promises, %d held by a test, %d not, in %s\n", len(list), len(list)-survived, survived, time.Since(begin).Round(time.Second))
	if survived > 0 {
		return errSurvived
	}
	return nil
}
