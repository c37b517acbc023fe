package mysql

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// statements splits what mariadb-dump wrote into statements, and counts what they make. Restore
// does not use the client mariadb, which runs commands of this machine that a dump contains.
type statements struct {
	r *bufio.Reader
	// limit is how long a statement may be.
	limit  int
	counts map[string]int64
	buffer []byte
}

func newStatements(r io.Reader, limit int) *statements {
	s := &statements{r: bufio.NewReaderSize(r, 1<<18), limit: limit, counts: map[string]int64{}}
	for _, kind := range append(kinds, rowCount, byteCount) {
		s.counts[kind.name] = 0
	}
	return s
}

type kind struct {
	name string
	// begins begins the statement that makes one.
	begins string
}

var (
	rowCount  = kind{name: "rows"}
	byteCount = kind{name: "row_bytes"} // of the rows as text
	kinds     = []kind{
		{"tables", "CREATE TABLE"},
		{"sequences", "CREATE SEQUENCE"},
		{"views", "/*!50001 CREATE ALGORITHM"}, // not the table that stands for it meanwhile
	}
)

const (
	routineCount = "routines"
	triggerCount = "triggers"

	// endOfCopy is the last line: without it a copy is not whole.
	endOfCopy = "-- end of the copy"
)

var errTruncated = errors.New("the copy is damaged: its end is missing")

// next returns the next statement without its semicolon. It is valid until the next call. At the
// end of the copy it returns io.EOF.
func (s *statements) next() ([]byte, error) {
	for {
		if err := s.skipSpace(); err != nil {
			return nil, errTruncated
		}
		begin, err := s.r.Peek(2)
		if err != nil {
			return nil, readError(err)
		}
		if string(begin) != "--" {
			break
		}
		line, err := s.r.ReadSlice('\n')
		if string(bytes.TrimSpace(line)) == endOfCopy {
			return nil, s.atEnd()
		}
		if err != nil {
			return nil, readError(err)
		}
	}
	statement, err := s.statement()
	if err == nil {
		s.count(statement)
	}
	return statement, err
}

// atEnd checks that nothing follows.
func (s *statements) atEnd() error {
	switch _, err := s.r.Peek(1); {
	case err == nil:
		return errors.New("the copy is damaged: it continues after its end")
	default:
		return err // io.EOF, or the reader's
	}
}

// readError makes an early end an error of the copy.
func readError(err error) error {
	if errors.Is(err, io.EOF) {
		return errTruncated
	}
	return err
}

func (s *statements) skipSpace() error {
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return readError(err)
		}
		if c != '\n' && c != ' ' && c != '\r' && c != '\t' {
			return s.r.UnreadByte()
		}
	}
}

// statement reads to a semicolon that is outside of quotes.
func (s *statements) statement() ([]byte, error) {
	s.buffer = s.buffer[:0]
	var quote byte
	escaped := false
	for {
		if _, err := s.r.Peek(1); err != nil {
			return nil, readError(err)
		}
		piece, err := s.r.Peek(s.r.Buffered())
		if err != nil {
			return nil, readError(err)
		}
		end := -1
		for i, c := range piece {
			switch {
			case escaped:
				escaped = false
			case quote != 0:
				escaped = c == '\\' && quote != '`'
				if c == quote {
					quote = 0
				}
			case c == '\'' || c == '"' || c == '`':
				quote = c
			case c == ';':
				end = i
			}
			if end >= 0 {
				break
			}
		}
		if end >= 0 {
			s.buffer = append(s.buffer, piece[:end]...)
			_, _ = s.r.Discard(end + 1)
			return s.buffer, nil
		}
		s.buffer = append(s.buffer, piece...)
		_, _ = s.r.Discard(len(piece))
		if len(s.buffer) > s.limit {
			return nil, fmt.Errorf("a row of the copy needs more than the server's max_allowed_packet of %d bytes: raise it", s.limit)
		}
	}
}

func (s *statements) count(statement []byte) {
	if bytes.HasPrefix(statement, []byte("INSERT ")) {
		rows, size := countRows(statement)
		s.counts[rowCount.name] += rows
		s.counts[byteCount.name] += size
		return
	}
	for _, k := range kinds {
		if bytes.HasPrefix(statement, []byte(k.begins)) {
			s.counts[k.name]++
		}
	}
}

// countRows counts the groups in parentheses of an INSERT after VALUES, and their bytes.
func countRows(insert []byte) (rows, size int64) {
	var quote byte
	escaped, depth, began := false, 0, 0
	for i, c := range insert {
		switch {
		case escaped:
			escaped = false
		case quote != 0:
			escaped = c == '\\' && quote != '`'
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"' || c == '`':
			quote = c
		case c == '(':
			if depth == 0 {
				began = i
			}
			depth++
		case c == ')':
			if depth--; depth == 0 {
				rows, size = rows+1, size+int64(i-began+1)
			}
		case c == 'V' && depth == 0: // of VALUES: what came before are columns
			rows, size = 0, 0
		}
	}
	return rows, size
}

const quotedName = "(?:`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\")"

var definer = regexp.MustCompile(`^((?:/\*M?!\d+ ?)?CREATE(?: OR REPLACE)?(?: ALGORITHM=\w+)?(?:\s*\*/\s*/\*M?!\d+)? )DEFINER=` + quotedName + "@" + quotedName + " ")

// withoutDefiner removes the account that defined a view, routine or trigger, which has no
// account on the new server. Then the definer is the account that restores.
func withoutDefiner(statement string) string {
	if !strings.Contains(statement[:min(len(statement), 200)], "DEFINER=") {
		return statement
	}
	return definer.ReplaceAllString(statement, "$1")
}
