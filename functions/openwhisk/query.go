package openwhisk

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxList     = 200
	initialList = 30
	longestWait = time.Minute // of a blocking invocation
)

type query struct {
	url.Values
	err error // about the first invalid parameter
}

func (c *call) query() *query { return &query{Values: c.URL.Query()} }

func (q *query) refuse(format string, args ...any) {
	q.err = cmp.Or(q.err, refuse(http.StatusBadRequest, format, args...))
}

func (q *query) flag(name string, initial bool) bool {
	switch strings.ToLower(q.Get(name)) {
	case "":
		return initial
	case "true", "yes", "on", "1":
		return true
	case "false", "no", "off", "0":
	default:
		q.refuse("The query parameter '%s' was malformed:\nit is true or false.", name)
	}
	return false
}

// wait is how long the caller waits at most.
func (q *query) wait() time.Duration {
	raw := q.Get("timeout")
	if raw == "" {
		return longestWait
	}
	ms, err := strconv.ParseInt(raw, 10, 64)
	if err != nil || ms <= 0 || ms > longestWait.Milliseconds() {
		q.refuse("Timeout must be number of milliseconds up to 60000.")
	}
	return time.Duration(ms) * time.Millisecond
}

// name is "name" or "package/name", or empty.
func (q *query) name() string {
	raw := q.Get("name")
	if strings.TrimSpace(raw) == "" {
		return ""
	}
	parts := strings.Split(raw, "/")
	if len(parts) > 2 || slices.ContainsFunc(parts, func(part string) bool { return !validName(part) }) {
		q.refuse("Parameter may be a 'simple' name or 'package-name/simple' name: %s", raw)
	}
	return raw
}

func (q *query) epoch(name string, initial time.Time) time.Time {
	raw := q.Get(name)
	if raw == "" {
		return initial
	}
	ms, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		q.refuse("Parameter is not a valid value for epoch seconds: %s", raw)
	}
	return time.UnixMilli(min(max(ms, 0), farFuture.UnixMilli()))
}

// page is the part of a list that a request wants.
type page struct {
	collection  string
	skip, limit int32
	count       bool // the number of entries instead of the list
}

func (q *query) page(collection string) page {
	p := page{collection: collection, limit: q.number(collection, "limit", initialList)}
	if p.limit < 0 || p.limit > maxList {
		q.refuse("The value '%d' is not in the range of 0 to %d for %s.", p.limit, maxList, collection)
	}
	p.limit = cmp.Or(p.limit, maxList)
	p.skip = q.number(collection, "skip", 0)
	if p.skip < 0 {
		q.refuse("The value '%d' is not greater than or equal to 0 for %s.", p.skip, collection)
	}
	p.count = q.flag("count", false)
	return p
}

func (q *query) number(collection, name string, initial int32) int32 {
	raw := q.Get(name)
	if raw == "" {
		return initial
	}
	n, err := strconv.ParseInt(raw, 10, 32)
	if err != nil {
		q.refuse("The value '%s' is not an integer for %s.", raw, collection)
	}
	return int32(n)
}

// list answers with one document for each row, or with the number of rows.
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

// listEntities lists a collection; count and read are queries.
func listEntities[Row, Document any](c *call, collection string, count func() (int64, error), read func(p page) ([]Row, error), document func(Row) Document) error {
	q := c.query()
	p := q.page(collection)
	if q.err != nil {
		return q.err
	}
	return list(c, p, count, func() ([]Row, error) { return read(p) }, document)
}
