"""How a query gets from the worker that its client is connected to into a query process, and its answer back.

The main process makes one pair of sockets. For each query a front worker makes another pair and sends one end of it
through the first to whichever query process takes it (SCM_RIGHTS). It has no name that others could connect to, and
what is sent waits there while a query process is started again. Closing the connection cancels the query.
"""
