package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is one line of `go test -json`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

// testState is a test that has begun, or a package (a test without a name).
type testState struct {
	output   strings.Builder
	parent   bool            // has subtests
	outcomes map[string]bool // of its subtests
	ended    bool
	slow     []string // of a package: its tests that took long, and how long
}

// slow is how many seconds a test may take without being named: those together are the time of CI.
const slow = 20

// collector turns the events of one run into results, and prints the output of
// what failed and one line for each package.
type collector struct {
	label    string
	out      io.Writer
	logs     bool // print the output of tests that passed, too
	packages map[string]map[string]*testState
	results  []result
}

func newCollector(label string, out io.Writer) *collector {
	return &collector{label: label, out: out, packages: map[string]map[string]*testState{}}
}

// read takes events until r ends. A line that is no event is passed on.
func (c *collector) read(r io.Reader) error {
	for lines := bufio.NewReader(r); ; {
		line, err := lines.ReadString('\n')
		if line != "" {
			c.line(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read test events: %w", err)
		}
	}
}

func (c *collector) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		fmt.Fprint(c.out, line)
		return
	}
	switch e.Action {
	case "build-output":
		fmt.Fprint(c.out, e.Output)
	case "run":
		c.begin(e)
	case "output":
		c.test(e.Package, e.Test).output.WriteString(e.Output)
	case passed, failed, skipped:
		if e.Test == "" {
			c.endPackage(e)
		} else {
			c.endTest(e)
		}
	}
}

// test finds a test, which it makes if need be.
func (c *collector) test(pkg, name string) *testState {
	tests := c.packages[pkg]
	if tests == nil {
		tests = map[string]*testState{}
		c.packages[pkg] = tests
	}
	if tests[name] == nil {
		tests[name] = &testState{outcomes: map[string]bool{}}
	}
	return tests[name]
}

// parent is the nearest test that name is a subtest of (a subtest's own name
// may have a slash in it), else the package.
func (c *collector) parent(pkg, name string) *testState {
	for name != "" {
		name = name[:max(0, strings.LastIndex(name, "/"))]
		if t := c.packages[pkg][name]; t != nil {
			return t
		}
	}
	return c.test(pkg, "")
}

func (c *collector) begin(e event) {
	c.test(e.Package, e.Test)
	c.parent(e.Package, e.Test).parent = true
}

// endTest counts a test. Of a test with subtests only those count, unless it
// failed or was skipped with none of them to show for it.
func (c *collector) endTest(e event) {
	t := c.test(e.Package, e.Test)
	t.ended = true
	if e.Elapsed >= slow && !strings.Contains(e.Test, "/") {
		pkg := c.test(e.Package, "")
		pkg.slow = append(pkg.slow, fmt.Sprintf("%s %.0fs", e.Test, e.Elapsed))
	}
	c.parent(e.Package, e.Test).outcomes[e.Action] = true
	if e.Action == failed || c.logs && e.Action == passed {
		fmt.Fprint(c.out, t.output.String())
	}
	if t.parent && (e.Action == passed || t.outcomes[e.Action]) {
		return
	}
	r := result{Run: c.label, Package: e.Package, Test: e.Test, Outcome: e.Action}
	if e.Action == skipped {
		r.Reason = reason(t.output.String())
	}
	c.results = append(c.results, r)
}

// endPackage counts the tests that its package's end cut short, or the package
// itself if it failed and no test of it did.
func (c *collector) endPackage(e event) {
	pkg := c.test(e.Package, "")
	if e.Action == failed {
		c.endUnfinished(e.Package)
		fmt.Fprint(c.out, pkg.output.String())
		if !pkg.outcomes[failed] {
			c.results = append(c.results, result{
				Run: c.label, Package: e.Package, Outcome: failed,
				Reason: "the package failed, and no test of it did",
			})
		}
	}
	if e.Action == passed && pkg.parent {
		fmt.Fprintf(c.out, "ok    %s  %.2fs\n", e.Package, e.Elapsed)
	}
	if len(pkg.slow) > 0 {
		fmt.Fprintf(c.out, "      %s\n", strings.Join(pkg.slow, ", "))
	}
	delete(c.packages, e.Package)
}

// endUnfinished fails a package's unfinished tests, subtests before their parents.
func (c *collector) endUnfinished(pkg string) {
	names := slices.Sorted(maps.Keys(c.packages[pkg]))
	slices.Reverse(names)
	for _, name := range names {
		if name != "" && !c.packages[pkg][name].ended {
			c.endTest(event{Action: failed, Package: pkg, Test: name})
		}
	}
}

// finish fails whatever never ended and hands over all the results.
func (c *collector) finish() []result {
	for _, pkg := range slices.Sorted(maps.Keys(c.packages)) {
		c.endPackage(event{Action: failed, Package: pkg})
	}
	return c.results
}

// reason is what a test wrote about why it was skipped.
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, "\n")
}
