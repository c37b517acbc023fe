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

// readBody returns the JSON object in a request's body.
func readBody(w http.ResponseWriter, r *http.Request) (*fields, error) {
	if sent := r.Header.Get("Content-Type"); sent != "" {
		if kind, _, err := mime.ParseMediaType(sent); err != nil || kind != "application/json" {
			return nil, invalid("the header Content-Type must be application/json")
		}
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
