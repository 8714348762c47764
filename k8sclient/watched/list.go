package watched

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
)

// list asks for a list as JSON, and reduces each object as it arrives: API servers that
// cannot stream a list in a watch send it in one piece. object makes an empty object.
func list[T item[T]](ctx context.Context, request *rest.Request, options *metav1.ListOptions, into *store[T], object func() any) (runtime.Object, error) {
	if options.Continue == "" {
		into.listAgain()
	}
	body, err := request.VersionedParams(options, metav1.ParameterCodec).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	listed := &internalversion.List{}
	decoder := json.NewDecoder(body)
	listed.ListMeta, err = readList(decoder, func() error {
		next := object()
		if err := decoder.Decode(next); err != nil {
			return err
		}
		arrival, err := into.arriving(next)
		if err == nil {
			listed.Items = append(listed.Items, arrival.(runtime.Object))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the list of %s: %w", into.kind, err)
	}
	return listed, nil
}

// readList reads a list, and calls item where the decoder is at an item.
func readList(decoder *json.Decoder, item func() error) (meta metav1.ListMeta, err error) {
	if err := readDelim(decoder, '{'); err != nil {
		return meta, err
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return meta, err
		}
		switch key {
		case "metadata":
			err = decoder.Decode(&meta)
		case "items":
			err = readItems(decoder, item)
		default:
			err = decoder.Decode(new(json.RawMessage))
		}
		if err != nil {
			return meta, err
		}
	}
	return meta, readDelim(decoder, '}')
}

func readItems(decoder *json.Decoder, item func() error) error {
	if token, err := decoder.Token(); err != nil || token == nil { // null is no item
		return err
	} else if token != json.Delim('[') {
		return fmt.Errorf("items are %v, not a list", token)
	}
	for decoder.More() {
		if err := item(); err != nil {
			return err
		}
	}
	return readDelim(decoder, ']')
}

func readDelim(decoder *json.Decoder, want json.Delim) error {
	token, err := decoder.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err == nil && token != want {
		return fmt.Errorf("%v where %v should be", token, want)
	}
	return err
}
