package osb

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
)

// maxBody is how many bytes a request's body may have.
const maxBody = 1 << 20

// readBody returns the JSON object that a request carries.
func readBody(w http.ResponseWriter, r *http.Request) (*fields, error) {
	if err := checkContentType(r.Header.Get("Content-Type")); err != nil {
		return nil, err
	}
	if r.ContentLength > maxBody {
		return nil, tooLarge()
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, tooLarge()
	}
	if err != nil {
		return nil, invalid("the body broke off before its end")
	}
	if len(data) == 0 {
		return nil, invalid("the body is missing: send a JSON object")
	}
	if err := checkObject(data); err != nil {
		return nil, invalid("the body cannot be read: " + err.Error())
	}
	return newFields(data), nil
}

func tooLarge() error {
	return refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", maxBody))
}

func checkContentType(value string) error {
	if value == "" {
		return nil
	}
	if kind, _, err := mime.ParseMediaType(value); err != nil || kind != "application/json" {
		return invalid("the header Content-Type must be application/json")
	}
	return nil
}
