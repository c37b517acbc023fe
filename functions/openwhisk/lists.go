package openwhisk

import (
	"net/http"
	"strconv"
)

const (
	maxList     = 200
	initialList = 30
)

// page is the part of a list that a request wants.
type page struct {
	collection  string
	skip, limit int32
	count       bool // the number of entries instead of the list
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
	return page{collection, skip, limit, count}, err
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

// list answers with the rows that read returns, one document each, or with their number
// beyond the skipped ones.
func list[Row, Document any](c *call, p page, count func() (int64, error), read func() ([]Row, error), document func(Row) Document) error {
	if p.count {
		n, err := count()
		return c.reply(map[string]int64{p.collection: max(0, n-int64(p.skip))}, err)
	}
	rows, err := read()
	out := make([]Document, len(rows))
	for i, row := range rows {
		out[i] = document(row)
	}
	return c.reply(out, err)
}
