package openwhisk

import (
	"net/http"
	"strconv"
)

const (
	maxList     = 200
	initialList = 30
)

// page is which part of a list is asked for.
type page struct {
	skip, limit int32
	count       bool // how many there are, instead of the list
}

// page reads limit, skip and count.
func (c *call) page(collection string) (page, error) {
	limit, err := c.number(collection, "limit", initialList)
	if err != nil {
		return page{}, err
	}
	if limit < 0 || limit > maxList {
		return page{}, refuse(http.StatusBadRequest, "The value '%d' is not in the range of 0 to %d for %s.", limit, maxList, collection)
	}
	if limit == 0 {
		limit = maxList
	}
	skip, err := c.number(collection, "skip", 0)
	if err != nil {
		return page{}, err
	}
	if skip < 0 {
		return page{}, refuse(http.StatusBadRequest, "The value '%d' is not greater than or equal to 0 for %s.", skip, collection)
	}
	count, err := c.flag("count", false)
	return page{skip: skip, limit: limit, count: count}, err
}

func (c *call) number(collection, name string, initial int32) (int32, error) {
	raw := c.URL.Query().Get(name)
	if raw == "" {
		return initial, nil
	}
	n, err := strconv.ParseInt(raw, 10, 32)
	if err != nil {
		return 0, refuse(http.StatusBadRequest, "The value '%s' is not an integer for %s.", raw, collection)
	}
	return int32(n), nil
}

// counted answers with how many there are beyond those that are skipped.
func (c *call) counted(collection string, n int64, p page) error {
	return c.ok(map[string]int64{collection: max(0, n-int64(p.skip))})
}

// listed answers with a list, one document a row.
func listed[Row, Document any](c *call, rows []Row, document func(Row) Document) error {
	out := make([]Document, len(rows))
	for i, row := range rows {
		out[i] = document(row)
	}
	return c.ok(out)
}
