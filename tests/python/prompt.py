"""The shell at a terminal. The arguments: the program, the first port, a directory for the nodes, and where the user's
state is kept.

Standard library only. Ends with 0 and the line "ok" if everything is as it should be.
"""

import os
import pty
import select
import signal
import sys
import time

PROGRAM, PORT, DATA, STATE = sys.argv[1:]


class Shell:
    """A shell whose terminal we are."""

    def __init__(self, **env):
        self.said = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            kept = {"HOME": DATA, "XDG_STATE_HOME": STATE, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
            args = [PROGRAM, "--base-port", PORT, "--data", DATA]
            os.execve(PROGRAM, args, kept | env)

    def type(self, keys):
        os.write(self.terminal, keys.encode())

    def until(self, text):
        """Reads until a text is there, and gives what was read, up to its end."""
        deadline = time.monotonic() + 60
        while text.encode() not in self.said:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.terminal], [], [], left)[0], f"no {text!r} in {self.said!r}"
            try:
                more = os.read(self.terminal, 4096)
            except OSError:
                more = b""
            assert more, f"the shell ended without {text!r}: {self.said!r}"
            self.said += more
        at = self.said.index(text.encode()) + len(text.encode())
        before, self.said = self.said[:at], self.said[at:]
        return before.decode()

    def ended(self):
        """Its exit code. What it still says is read, so that it need not wait for us."""
        try:
            while os.read(self.terminal, 4096):
                pass
        except OSError:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


responded = f"Node {PORT} responded: "

shell = Shell()
try:
    shell.until("5 nodes started")
    shell.until("Type help")
    shell.type(f"set value five on {PORT}\r")
    shell.until(responded)
    # Good news is green at a terminal.
    shell.type("restart\r")
    assert "\x1b[32m" in shell.until("All nodes are restarted"), "no colour"
    # Ctrl-C clears the line; nothing of it is run. Typed at the prompt, because before it the echo is the terminal's.
    shell.until("\x1b[?2004h")
    shell.type("set value nev")
    shell.until("nev")
    shell.type("\x03")
    # A new prompt. Until it is there, Ctrl-C throws away what was typed, as it does everywhere.
    shell.until("\x1b[?2004l")
    shell.until("\x1b[?2004h")
    shell.type(f"set value six on {PORT}\r")
    shell.until("'six' has been updated")
    # A wrong line is an answer, and not the end.
    shell.type("nonsense\r")
    shell.until("there is no command 'nonsense'")
    # Ctrl-D leaves.
    shell.type("status\r")
    shell.until("5 of 5 nodes are up")
    shell.until("\x1b[?2004h")
    shell.type("\x04")
    assert shell.ended() == 0
finally:
    try:
        os.kill(shell.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass

# With NO_COLOR nothing is coloured, and what was typed before is remembered.
shell = Shell(NO_COLOR="1")
try:
    shell.until("Type help")
    shell.type("history\r")
    shell.until("  nonsense")
    shell.type(f"set value six on {PORT}\r")
    assert "\x1b[32m" not in shell.until("'six' has been updated"), "colour"
    shell.type("exit\r")
    assert shell.ended() == 0
finally:
    try:
        os.kill(shell.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
print("ok")
