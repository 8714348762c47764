package source

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/plexus-cni/plexus/types"
)

// Local gives what this node alone knows of the networks of a request. Manifests are files of
// this node: plexus-once reads them. An agent may restart and an API server be away, and
// neither is this node's: where one is the source, the facts are silent.
func (s *Source) Local(ctx context.Context, request *types.FactsRequest) (*types.Facts, error) {
	switch {
	case s.config.Manifests != "":
		return s.askOnce(ctx, request)
	case s.hasAgent(): // what an agent can do without is not missed: neither kubeconfig nor plexus-once
		return &types.Facts{}, nil
	case s.hasAPI():
		_, err := findChild(s.cniPath)
		return &types.Facts{}, types.Join(s.checkKubeconfig(), err)
	}
	return noFacts(request), nil
}

// askOnce asks a plexus-once of its own, of which nothing is published.
func (s *Source) askOnce(ctx context.Context, request *types.FactsRequest) (*types.Facts, error) {
	s.asked = time.Now()
	facts, err := s.askChild(ctx, request)
	if s.child != nil {
		s.child.close()
		s.child = nil
	}
	return facts, err
}

func (s *Source) checkKubeconfig() error {
	if s.config.Kubeconfig == "" {
		return nil
	}
	if err := checkContent(s.config.Kubeconfig); err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	return nil
}

// checkContent reports why a file has no content to read: it is not there, a folder, empty.
// Anything but a file, which may never give a byte, is not opened.
func checkContent(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: is not a file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Read(make([]byte, 1)); err == io.EOF {
		return fmt.Errorf("%s: is empty", path)
	} else if err != nil {
		return err
	}
	return nil
}
