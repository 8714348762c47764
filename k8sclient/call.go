package k8sclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
)

const (
	callTimeout  = 30 * time.Second // of a call with all its attempts
	firstDelay   = 100 * time.Millisecond
	longestDelay = 2 * time.Second
	maxObject    = 16 << 20
	// grace is how long a request may take to notice the end of its context.
	grace = 100 * time.Millisecond
	// tooShort is for an attempt that was cut by the end of the call's time: it tells less of the server than
	// the one before it.
	tooShort = time.Second
)

// call is one request to the API server, which may take several attempts.
type call struct {
	what        string // for errors: "read pod default/web"
	method      string
	path        []string
	query       url.Values
	accept      string
	contentType string
	body        []byte
	// graphPatience is how long the Node authorizer, which knows pods from a watch, may
	// take to know this one.
	graphPatience time.Duration
}

// do repeats the call until its answer is final or ctx ends.
func (c *Client) do(ctx context.Context, call *call) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	begin := time.Now()
	var before error
	for attempt := 1; ; attempt++ {
		tried := time.Now()
		body, err := c.attempt(ctx, call)
		if err == nil {
			return body, nil
		}
		if before != nil && errors.Is(err, errNoAnswer) && time.Since(tried) < tooShort {
			err = before
		}
		before = err
		again := worthRetrying(err) || graphIsBehind(err) && time.Since(begin) < call.graphPatience
		if !again || !pause(ctx, delay(attempt, err)) {
			return nil, &callError{what: call.what, server: c.server.Redacted(), attempts: attempt, took: time.Since(begin), err: err}
		}
	}
}

// delay is the pause after an attempt: at least what the server says, ever longer, and
// random, so that not all clients come back at once.
func delay(attempt int, err error) time.Duration {
	d := min(firstDelay<<min(attempt-1, 10), longestDelay)
	d = d/2 + rand.N(d)
	seconds, _ := apierrors.SuggestsClientDelay(err)
	return max(d, time.Duration(seconds)*time.Second)
}

// pause waits, and reports false at once if ctx would end before.
func pause(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// attempt makes the call once.
func (c *Client) attempt(ctx context.Context, call *call) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	begin := time.Now()
	request, err := c.request(ctx, call)
	if err != nil {
		return nil, err
	}
	response, err := c.roundTrip(request)
	if err != nil {
		return nil, c.transportError(err, time.Since(begin))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxObject+1))
	switch {
	case err != nil:
		return nil, c.transportError(err, time.Since(begin))
	case len(body) > maxObject:
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxObject)
	case response.StatusCode >= http.StatusMultipleChoices:
		return nil, newStatusError(response, body)
	}
	return body, nil
}

// roundTrip makes a request, and gives up when its context ends, even while a credential
// plugin hangs: client-go runs it without a context.
func (c *Client) roundTrip(request *http.Request) (*http.Response, error) {
	type answer struct {
		response *http.Response
		err      error
	}
	answered := make(chan answer, 1)
	go func() {
		response, err := c.http.Do(request) //nolint:bodyclose // the receiver closes it, or the process ends
		answered <- answer{response, err}
	}()
	abandoned := make(chan struct{})
	defer context.AfterFunc(request.Context(), func() { time.AfterFunc(grace, func() { close(abandoned) }) })()
	select {
	case a := <-answered:
		return a.response, a.err
	case <-abandoned:
		return nil, request.Context().Err()
	}
}

func (c *Client) request(ctx context.Context, call *call) (*http.Request, error) {
	segments, err := escape(call.path)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, call.method, c.address(segments, call.query), bytes.NewReader(call.body))
	if err != nil {
		return nil, err
	}
	request.Header = c.header.Clone()
	request.Header.Set("Accept", "application/json")
	if call.accept != "" {
		request.Header.Set("Accept", call.accept)
	}
	if call.contentType != "" {
		request.Header.Set("Content-Type", call.contentType)
	}
	return request, nil
}

func (c *Client) address(segments []string, query url.Values) string {
	address := c.server.JoinPath(segments...)
	if len(query) > 0 {
		address.RawQuery = query.Encode()
	}
	return address.String()
}

// escape makes a path of which each segment stays one: names come from the runtime and from
// pods, and none may lead to another object. The API server splits a path after it has
// unescaped it, so a name with a slash is refused: no object has one.
func escape(segments []string) ([]string, error) {
	escaped := make([]string, len(segments))
	for i, segment := range segments {
		if segment == "" || len(content.IsPathSegmentName(segment)) > 0 {
			return nil, fmt.Errorf("%w: %q", errNoName, segment)
		}
		escaped[i] = url.PathEscape(segment)
	}
	return escaped, nil
}

// transportError gives the reason why a request got no answer. After a time-out it drops
// the connection: its other end may be gone.
func (c *Client) transportError(err error, took time.Duration) error {
	if errors.Is(err, context.DeadlineExceeded) {
		c.http.CloseIdleConnections()
		return fmt.Errorf("%w within %s", errNoAnswer, took.Round(time.Millisecond))
	}
	return withoutURL(err)
}
