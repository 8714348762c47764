package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// cover counts as one test that of the statements under the import path tree
// at least minimum percent were run by one of the profiles' runs.
func (t tool) cover(minimum, tree string, profiles []string) error {
	least, err := strconv.ParseFloat(minimum, 64)
	if err != nil {
		return fmt.Errorf("minimum of coverage: %w", err)
	}
	r := result{Run: "cover", Package: tree, Outcome: passed}
	percent, err := coverage(tree, profiles)
	switch {
	case err != nil:
		r.Outcome, r.Reason = failed, err.Error()
	case percent < least:
		r.Outcome = failed
		r.Reason = fmt.Sprintf("%.1f%% of the statements are covered, at least %g%% are wanted", percent, least)
	}
	fmt.Fprintf(t.out, "cover %s  %.1f%% of statements (at least %g%%)\n", tree, percent, least)
	return t.keep(r)
}

// block is a stretch of statements as several profiles see it.
type block struct {
	statements int
	run        bool
}

// coverage is the percentage of the statements under tree that any profile saw run.
func coverage(tree string, profiles []string) (float64, error) {
	blocks := map[string]block{}
	for _, p := range profiles {
		if err := readProfile(p, tree, blocks); err != nil {
			return 0, err
		}
	}
	var all, run int
	for _, b := range blocks {
		all += b.statements
		if b.run {
			run += b.statements
		}
	}
	if all == 0 {
		return 0, fmt.Errorf("no statement of %s is in %s", tree, strings.Join(profiles, ", "))
	}
	return 100 * float64(run) / float64(all), nil
}

// readProfile merges the blocks under tree from a file of `go test -coverprofile`.
func readProfile(path, tree string, blocks map[string]block) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), tree+"/") {
			continue
		}
		var where string
		var statements, runs int
		if _, err := fmt.Sscan(lines.Text(), &where, &statements, &runs); err != nil {
			return fmt.Errorf("coverage profile %s, %q: %w", path, lines.Text(), err)
		}
		blocks[where] = block{statements: statements, run: blocks[where].run || runs > 0}
	}
	return lines.Err()
}
