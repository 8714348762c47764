package kubelet

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/plexus-cni/plexus/types"
)

// podResources is the part that is read of the message of that name
// (k8s.io/kubelet/pkg/apis/podresources/v1, whose field numbers never change).
type podResources struct {
	name, namespace string
	containers      []container
}

// Types of fields in protobuf's encoding.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
	wireBits    = 3 // of a field's tag that say its type
)

var errTorn = errors.New("it is not a message of protobuf")

// getRequest encodes a GetPodResourcesRequest.
func getRequest(pod *types.Pod) []byte {
	return appendText(appendText(nil, 1, pod.Name), 2, pod.Namespace)
}

func appendText(message []byte, field uint64, text string) []byte {
	message = binary.AppendUvarint(message, field<<wireBits|wireBytes)
	message = binary.AppendUvarint(message, uint64(len(text)))
	return append(message, text...)
}

// decodePods reads a ListPodResourcesResponse, or a GetPodResourcesResponse, which is one
// of a single pod.
func decodePods(message []byte) ([]podResources, error) {
	var pods []podResources
	err := eachField(message, func(field uint64, value []byte) error {
		if field != 1 {
			return nil
		}
		pod, err := decodePod(value)
		pods = append(pods, pod)
		return err
	})
	return pods, err
}

func decodePod(message []byte) (pod podResources, err error) {
	err = eachField(message, func(field uint64, value []byte) error {
		switch field {
		case 1:
			pod.name = string(value)
		case 2:
			pod.namespace = string(value)
		case 3:
			c, err := decodeContainer(value)
			pod.containers = append(pod.containers, c)
			return err
		}
		return nil
	})
	return pod, err
}

func decodeContainer(message []byte) (c container, err error) {
	err = eachField(message, func(field uint64, value []byte) error {
		switch field {
		case 1:
			c.name = string(value)
		case 2:
			devices, err := decodeDevices(value)
			c.devices = append(c.devices, devices)
			return err
		case 5:
			claim, err := decodeClaim(value)
			c.claims = append(c.claims, claim)
			return err
		}
		return nil
	})
	return c, err
}

// decodeClaim reads a DynamicResource.
func decodeClaim(message []byte) (c containerClaim, err error) {
	err = eachField(message, func(field uint64, value []byte) error {
		switch field {
		case 2:
			c.name = string(value)
		case 3:
			c.namespace = string(value)
		case 4:
			device, err := decodeClaimedDevice(value)
			c.devices = append(c.devices, device)
			return err
		}
		return nil
	})
	return c, err
}

// decodeClaimedDevice reads a ClaimResource, which does not say its claim.
func decodeClaimedDevice(message []byte) (d types.ClaimedDevice, err error) {
	err = eachField(message, func(field uint64, value []byte) error {
		switch field {
		case 2:
			d.Driver = string(value)
		case 3:
			d.Pool = string(value)
		case 4:
			d.Name = string(value)
		case 5:
			d.ShareID = string(value)
		}
		return nil
	})
	return d, err
}

func decodeDevices(message []byte) (d containerDevices, err error) {
	err = eachField(message, func(field uint64, value []byte) error {
		switch field {
		case 1:
			d.resource = string(value)
		case 2:
			d.ids = append(d.ids, string(value))
		}
		return nil
	})
	return d, err
}

// eachField goes through the fields of a message that are texts or messages themselves;
// numbers are passed over.
func eachField(message []byte, take func(field uint64, value []byte) error) error {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return errTorn
		}
		message = message[n:]
		size, isText, err := fieldSize(message, tag)
		if err != nil {
			return err
		}
		value := message[:size]
		message = message[size:]
		if !isText {
			continue
		}
		_, skip := binary.Uvarint(value)
		if err := take(tag>>wireBits, value[skip:]); err != nil {
			return err
		}
	}
	return nil
}

// fieldSize gives how much of a message is the value of its first field, whose tag has
// been read. That of a text begins with its length.
func fieldSize(message []byte, tag uint64) (size int, isText bool, err error) {
	number, n := binary.Uvarint(message)
	switch tag & (1<<wireBits - 1) {
	case wireVarint:
		size = n
	case wireFixed32:
		size = 4
	case wireFixed64:
		size = 8
	case wireBytes:
		if n <= 0 || number > uint64(len(message)-n) {
			return 0, false, errTorn
		}
		return n + int(number), true, nil
	default:
		return 0, false, fmt.Errorf("%w: a field of type %d", errTorn, tag&(1<<wireBits-1))
	}
	if size <= 0 || size > len(message) {
		return 0, false, errTorn
	}
	return size, false, nil
}
