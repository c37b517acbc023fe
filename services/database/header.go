package database

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ReadHeader reads the first line of a copy: the mark, and a header as JSON of at most limit bytes.
func ReadHeader(in *bufio.Reader, mark string, limit int, header any) error {
	var line []byte
	for ended := false; !ended; {
		piece, err := in.ReadSlice('\n')
		line = append(line, piece...)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("the copy is damaged: it does not begin with a header: %w", err)
		}
		if !bytes.HasPrefix(line, []byte(mark)) || len(line) > limit {
			return errors.New("the copy is damaged: it does not begin with a header")
		}
		ended = err == nil
	}
	if json.Unmarshal(line[len(mark):], header) != nil {
		return errors.New("the copy is damaged: its header is not JSON")
	}
	return nil
}
