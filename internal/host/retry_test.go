package host

import (
	"errors"
	"fmt"
	"testing"
)

func TestRetried(t *testing.T) {
	passing, other := errors.New("disturbed"), errors.New("broken")
	for name, c := range map[string]struct {
		errs  []error // of the calls; the last is repeated
		calls int
		want  error
	}{
		"at once":             {[]error{nil}, 1, nil},
		"after a disturbance": {[]error{fmt.Errorf("list: %w", passing), passing, nil}, 3, nil},
		"another error":       {[]error{passing, other}, 2, other},
		"always disturbed":    {[]error{passing}, tries, passing},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			got, err := Retried(passing, func() (int, error) {
				calls++
				return calls, c.errs[min(calls, len(c.errs))-1]
			})
			if got != c.calls || calls != c.calls || !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%d after %d calls, %v; want %d, %v", got, calls, err, c.calls, c.want)
			}
		})
	}
}
