package ovs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/plexus-cni/plexus/internal/plugin/vhostuser"
)

// database is a connection to an OVSDB. No table of it is copied: a call reads a few
// rows once, and the whole of a busy node would only be read to be thrown away.
type database struct{ client client.Client }

func dial(ctx context.Context, address string) (database, error) {
	schema, err := model.NewClientDBModel(tableRoot, map[string]model.Model{})
	if err != nil {
		return database{}, err
	}
	c, err := client.NewOVSDBClient(schema, client.WithEndpoint(address))
	if err != nil {
		return database{}, err
	}
	if err := c.Connect(ctx); err != nil {
		return database{}, err
	}
	return database{c}, nil
}

func (d database) close() { d.client.Close() }

// answers are the results of a transaction's operations.
type answers []ovsdb.OperationResult

// transact runs operations as one transaction: all or none.
func (d database) transact(ctx context.Context, ops ...ovsdb.Operation) (answers, error) {
	results, err := d.client.Transact(ctx, ops...)
	if err != nil {
		return nil, fmt.Errorf("the database of Open vSwitch: %w: %w", vhostuser.ErrUnreachable, cause(err))
	}
	failures, err := ovsdb.CheckOperationResults(results, ops)
	if len(failures) > 0 {
		err = failures[0] // the others are those that were not run for it
	}
	if err != nil {
		return nil, fmt.Errorf("the database of Open vSwitch: %w", err)
	}
	return results, nil
}

// cause gives the heart of an error of the library, which says several times where it
// wanted to go.
func cause(err error) error {
	var network *net.OpError
	if errors.As(err, &network) {
		return network.Err
	}
	return err
}

// first gives the first row that an operation selected, an empty one if there is none.
func (a answers) first(operation int) row { return a.at(operation, 0) }

func (a answers) last() row { return a.at(len(a)-1, 0) }

func (a answers) at(operation, index int) row {
	if operation >= len(a) || index >= len(a[operation].Rows) {
		return row{}
	}
	return row(a[operation].Rows[index])
}

// row reads a row's columns. A column of another type than is asked for reads as
// nothing: the schema is the database's, and may be of another version.
type row ovsdb.Row

// elements gives what is in a column as a list: a set of one is written as its element.
func (r row) elements(column string) []any {
	switch value := r[column].(type) {
	case nil:
		return nil
	case ovsdb.OvsSet:
		return value.GoSet
	default:
		return []any{value}
	}
}

func only[T any](values []any) []T {
	var typed []T
	for _, value := range values {
		if v, ok := value.(T); ok {
			typed = append(typed, v)
		}
	}
	return typed
}

func one[T any](r row, column string) T {
	var none T
	if values := only[T](r.elements(column)); len(values) > 0 {
		return values[0]
	}
	return none
}

func (r row) text(column string) string    { return one[string](r, column) }
func (r row) texts(column string) []string { return only[string](r.elements(column)) }
func (r row) bool(column string) bool      { return one[bool](r, column) }
func (r row) int(column string) int        { return int(one[float64](r, column)) }
func (r row) uuid(column string) string    { return one[ovsdb.UUID](r, column).GoUUID }

func (r row) uuids(column string) []string {
	var all []string
	for _, u := range only[ovsdb.UUID](r.elements(column)) {
		all = append(all, u.GoUUID)
	}
	return all
}

// ints gives a set of numbers, sorted.
func (r row) ints(column string) []int {
	var all []int
	for _, n := range only[float64](r.elements(column)) {
		all = append(all, int(n))
	}
	slices.Sort(all)
	return all
}

// pairs gives a map of texts.
func (r row) pairs(column string) map[string]string {
	all := map[string]string{}
	if value, ok := r[column].(ovsdb.OvsMap); ok {
		for k, v := range value.GoMap {
			key, isKey := k.(string)
			text, isText := v.(string)
			if isKey && isText {
				all[key] = text
			}
		}
	}
	return all
}

// number reads an option, 0 if it is none.
func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}
