package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// Response is what a program of RFC 3875 answered.
type Response struct {
	// Status is 200 if the program gave none, or 302 if it gave a Location.
	Status int
	// Header holds the fields for the client, without Status and those of a connection
	// such as Transfer-Encoding.
	Header http.Header
	Body   []byte
	// LocalRedirect is the path and query of another request to make instead of this one
	// (section 6.2.2), if there is one.
	LocalRedirect string
}

// maxFields is how many header fields an answer may have.
const maxFields = 500

// ParseCGI parses what a program of RFC 3875, section 6, wrote to standard
// output; lines may also end with a bare line feed. Errors are the program's.
func ParseCGI(output []byte) (Response, error) {
	reader := bufio.NewReader(bytes.NewReader(output))
	fields, err := textproto.NewReader(reader).ReadMIMEHeader()
	if err != nil {
		return Response{}, fmt.Errorf("the program's answer does not begin with header fields and an empty line (RFC 3875, section 6.2): %w", err)
	}
	header := http.Header(fields)
	if len(header) > maxFields {
		return Response{}, fmt.Errorf("the program's answer has more than %d header fields", maxFields)
	}
	status, err := statusOf(header)
	if err != nil {
		return Response{}, err
	}
	answer := Response{Status: status, Header: header}
	if answer.Body, err = io.ReadAll(reader); err != nil {
		return Response{}, fmt.Errorf("read the program's body: %w", err)
	}
	if place := header.Get("Location"); strings.HasPrefix(place, "/") && header.Get("Status") == "" && len(answer.Body) == 0 {
		answer.LocalRedirect = place
	}
	removeConnectionFields(header)
	return answer, nil
}

// statusOf reads the field Status (section 6.3.3).
func statusOf(header http.Header) (int, error) {
	text := header.Get("Status")
	if text == "" {
		if header.Get("Location") != "" {
			return http.StatusFound, nil
		}
		if header.Get("Content-Type") == "" {
			return 0, errors.New("the program's answer has none of the header fields Content-Type, Location and Status (RFC 3875, section 6.2)")
		}
		return http.StatusOK, nil
	}
	digits, _, _ := strings.Cut(text, " ")
	status, err := strconv.Atoi(digits)
	if err != nil || len(digits) != 3 || status < 200 || status > 599 {
		return 0, errors.New("the program's header field Status must be a number from 200 to 599")
	}
	return status, nil
}

// removeConnectionFields removes the fields of the connections to the client (RFC 9110,
// section 7.6.1) and to the program.
func removeConnectionFields(header http.Header) {
	for _, list := range header.Values("Connection") {
		for name := range strings.SplitSeq(list, ",") {
			header.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding",
		"Upgrade", "Content-Length", "Status",
	} {
		header.Del(name)
	}
}
