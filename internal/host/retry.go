package host

import "errors"

// tries is how often a question is asked whose answer was disturbed.
const tries = 5

// Retried calls f again, a few times in all, as long as its error is the one that passes:
// netlink.ErrDumpInterrupted, for one, says that a list changed while it was read.
func Retried[T any](passing error, f func() (T, error)) (answer T, err error) {
	for range tries {
		if answer, err = f(); !errors.Is(err, passing) {
			break
		}
	}
	return answer, err
}
