//go:build linux

package collect

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// Answers asks the kernel's routing. A namespace is found by its inode, among those that Node
// finds.
func Answers(options Options, questions []inspect.Question) ([]inspect.Answer, error) {
	c := &collector{options: options, snapshot: inspect.New()}
	defer c.close()
	if err := c.open(); err != nil {
		return nil, err
	}
	answers := make([]inspect.Answer, len(questions))
	for i, question := range questions {
		answers[i] = c.answer(question)
	}
	return answers, nil
}

func (c *collector) answer(question inspect.Question) inspect.Answer {
	answer := inspect.Answer{Question: question}
	if err := c.within(question.Namespace, func() error { return ask(&answer) }); err != nil {
		answer.Unread = err.Error()
	}
	return answer
}

// ask asks for what the kernel does with the packet, and for the entry of a table that it does it by.
func ask(answer *inspect.Answer) error {
	to := net.ParseIP(answer.To)
	if to == nil {
		return fmt.Errorf("%q is no address", answer.To)
	}
	options, err := routeOptions(answer.Question)
	if err != nil {
		return err
	}
	answer.Route, err = routeTo(to, *options)
	var refused unix.Errno
	if errors.As(err, &refused) {
		answer.Refused = unix.ErrnoName(refused)
	} else if err != nil {
		return err
	}
	options.FIBMatch = true
	answer.Match, _ = routeTo(to, *options)
	return nil
}

func routeOptions(question inspect.Question) (*netlink.RouteGetOptions, error) {
	options := &netlink.RouteGetOptions{Mark: question.Mark, SrcAddr: net.ParseIP(question.From)}
	for index, name := range map[int]*string{question.Input: &options.Iif, question.Output: &options.Oif} {
		if index == 0 {
			continue
		}
		link, err := netlink.LinkByIndex(index)
		if err != nil {
			return nil, fmt.Errorf("the interface of index %d: %w", index, err)
		}
		*name = link.Attrs().Name
	}
	return options, nil
}

func routeTo(to net.IP, options netlink.RouteGetOptions) (*inspect.Route, error) {
	routes, err := netlink.RouteGetWithOptions(to, &options)
	if err != nil || len(routes) == 0 {
		return nil, err
	}
	version := 6
	if to.To4() != nil {
		version = 4
	}
	described := describeRoute(version, &routes[0])
	return &described, nil
}
