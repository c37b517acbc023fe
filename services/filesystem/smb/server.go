package smb

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// server is host:port of an SMB server.
type server string

// answers asks the server for its dialect, which needs no session ([MS-SMB2] 2.2.3). It fails if
// there is no SMB server. A slow one may take as long as ctx.
func (s server) answers(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", string(s))
	if err != nil {
		return fmt.Errorf("samba does not answer: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(negotiate()); err != nil {
		return fmt.Errorf("samba at %s does not answer: %w", s, err)
	}
	answer := make([]byte, len(protocolID)+4)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return fmt.Errorf("samba at %s does not answer: %w", s, err)
	}
	if !bytes.Equal(answer[4:], protocolID) {
		return fmt.Errorf("the reply from %s did not come from an SMB server", s)
	}
	return nil
}

// protocolID begins every message of the protocol.
var protocolID = []byte{0xfe, 'S', 'M', 'B'}

// negotiate is a request to negotiate the dialects 3.0 and 3.0.2.
func negotiate() []byte {
	const header, body, dialects = 64, 36, 2
	message := make([]byte, 4+header+body+2*dialects)
	binary.BigEndian.PutUint32(message, header+body+2*dialects)
	h, b := message[4:4+header], message[4+header:]
	copy(h, protocolID)
	binary.LittleEndian.PutUint16(h[4:], header)
	binary.LittleEndian.PutUint16(h[14:], 1) // credits asked for
	binary.LittleEndian.PutUint16(b, body)
	binary.LittleEndian.PutUint16(b[2:], dialects)
	binary.LittleEndian.PutUint16(b[4:], 1)    // signing enabled
	binary.LittleEndian.PutUint32(b[8:], 0x40) // encryption is spoken
	binary.LittleEndian.PutUint16(b[36:], 0x0300)
	binary.LittleEndian.PutUint16(b[38:], 0x0302)
	return message
}
