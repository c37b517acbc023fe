package admin

import (
	"net/http"
	"strconv"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

// list answers a page of rows, each as item describes it. next is the name of the last
// row, after which the next page begins.
func list[Row, Item any](r *http.Request, what string, rows func(after string, limit int32) ([]Row, error), item func(Row) (name string, i Item)) (answer, error) {
	after, limit, err := page(r)
	if err != nil {
		return answer{}, err
	}
	found, err := rows(after, limit)
	if err != nil {
		return answer{}, err
	}
	last, items := "", []Item{}
	for _, row := range found {
		name, i := item(row)
		last, items = name, append(items, i)
	}
	body := map[string]any{what: items}
	if len(found) == int(limit) {
		body["next"] = last
	}
	return answer{http.StatusOK, body}, nil
}

// page reads the query of a list: the name after which it begins, and its length.
func page(r *http.Request) (after string, limit int32, err error) {
	query := r.URL.Query()
	for key, values := range query {
		switch {
		case key != "after" && key != "limit":
			return "", 0, invalid(key + ": unknown parameter")
		case len(values) > 1:
			return "", 0, invalid(key + ": must be given once")
		}
	}
	n := int64(defaultPage)
	if text := query.Get("limit"); text != "" {
		if n, err = strconv.ParseInt(text, 10, 32); err != nil || n < 1 || n > maxPage {
			return "", 0, invalid("limit: must be a whole number from 1 to " + strconv.Itoa(maxPage))
		}
	}
	return query.Get("after"), int32(n), nil
}
