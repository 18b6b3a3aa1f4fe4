#include "client/convctl/table.h"

#include <algorithm>
#include <utility>

#include "client/convctl/terminal_text.h"

namespace convd {
namespace {

void AppendRow(const std::vector<std::string>& cells, const std::vector<Align>& align,
               const std::vector<size_t>& widths, std::string& text) {
  std::string line;
  for (size_t c = 0; c < cells.size(); ++c) {
    if (c != 0) line += "  ";
    const std::string padding(widths[c] - DisplayWidth(cells[c]), ' ');
    line += align[c] == Align::kRight ? padding + cells[c] : cells[c] + padding;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  text += line;
  text += '\n';
}

std::vector<size_t> Widths(const std::vector<std::vector<std::string>>& rows, size_t columns) {
  std::vector<size_t> widths(columns, 0);
  for (const auto& row : rows) {
    for (size_t c = 0; c < columns; ++c) widths[c] = std::max(widths[c], DisplayWidth(row[c]));
  }
  return widths;
}

}  // namespace

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::AddRow(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = Printable(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::Render() const {
  std::vector<std::string> headings;
  std::vector<Align> align;
  for (const Column& column : columns_) {
    headings.push_back(column.heading);
    align.push_back(column.align);
  }
  std::vector<size_t> widths = Widths(rows_, columns_.size());
  for (size_t c = 0; c < columns_.size(); ++c) {
    widths[c] = std::max(widths[c], DisplayWidth(headings[c]));
  }
  std::string text;
  AppendRow(headings, align, widths, text);
  for (const auto& row : rows_) AppendRow(row, align, widths, text);
  return text;
}

void FieldList::Add(std::string name, std::string value) {
  rows_.push_back({std::move(name), Printable(value)});
}

std::string FieldList::Render() const {
  const std::vector<size_t> widths = Widths(rows_, 2);
  std::string text;
  for (const auto& row : rows_) AppendRow(row, {Align::kLeft, Align::kLeft}, widths, text);
  return text;
}

}  // namespace convd
