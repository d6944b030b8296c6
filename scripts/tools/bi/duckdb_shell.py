"""Runs statements in DuckDB as docs/bi.md shows them, and prints the rows of each.

Usage: duckdb_shell.py < statements.sql

Statements end with a semicolon at the end of a line. `INSTALL sqlite` takes the extension of the
package duckdb-extension-sqlite-scanner; DuckDB itself would download the same one.
"""

import pathlib
import sys

import duckdb
import duckdb_extension_sqlite_scanner

folder = pathlib.Path(duckdb_extension_sqlite_scanner.__file__).parent
extension = next(folder.rglob("sqlite_scanner.duckdb_extension"))
connection = duckdb.connect()
for statement in sys.stdin.read().split(";\n"):
    statement = statement.strip().rstrip(";")
    if not statement:
        continue
    if statement == "INSTALL sqlite":
        statement = f"INSTALL '{extension}'"
    elif statement == "LOAD sqlite":
        statement = "LOAD sqlite_scanner"
    result = connection.execute(statement)
    if result.description and statement.startswith(("SELECT", "FROM", "WITH", "DESCRIBE", "SHOW")):
        print(" | ".join(column[0] for column in result.description))
        for row in result.fetchall():
            print(" | ".join("NULL" if cell is None else str(cell) for cell in row))
        print()
